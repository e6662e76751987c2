"""Masked branches: choices by a mask that are taken back, as in the safe division ``where(m, x / where(m, n, 1), 0)``.

``where(m, n, 1)`` puts a constant beside what scales, so as a whole it does not scale. But if the mask does not change
with α, each branch does: n where m is true, the constant elsewhere. :class:`Branches` remember how both scale. They go
along with operations that work element by element, and a second choice by the same mask takes the branch that is good
and drops the other.

What must never happen: branches outlive what they say. They belong to one tensor, not to its memory (a view, such as a
transpose, meets the mask at other elements), and hold as long as neither it nor the mask is written to; and no rule may
look at the values of a constant branch, as beside it stands something else.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from captum_xg._core.operations import tensors_in
from captum_xg._core.storage import has_storage
from captum_xg.homogeneity.certificate.apply_rule import TransferFunction
from captum_xg.homogeneity.certificate.shadow_memory import ShadowMemory, Value
from captum_xg.homogeneity.degree import CONSTANT, Scaling
from captum_xg.homogeneity.rules.registry import Entry

_CHOICES = {"aten::where": ("condition", "self", "other"), "aten::masked_fill": ("mask", "value", "self")}
"""Operations that choose: the mask, what stands where it is true, and what elsewhere."""


@dataclass(frozen=True)
class _State:
    """A tensor as it was: which memory in which order, and how often it had been written to."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    memory: int
    writes: int


@dataclass(frozen=True)
class Branches:
    """How a tensor scales where a mask (broadcast to it) is true, and where it is false."""

    mask: weakref.ref[Tensor]
    mask_state: _State
    if_true: Scaling
    if_false: Scaling


class MaskedBranches:
    """Remembers choices for the tensors of one forward pass.

    Args:
        shadows: Knows what has been written to.
    """

    def __init__(self, shadows: ShadowMemory) -> None:
        self._shadows = shadows
        self._branches = WeakIdKeyDictionary()  # tensor → (branches, its state)

    def chosen(self, entry: Entry, arguments: Mapping[str, object], values: Mapping[int, Value]) -> Mapping[int, Value]:
        """Return how arguments scale, where a choice drops one branch of an earlier choice by its mask."""
        if entry.name not in _CHOICES:
            return values
        mask_name, *names = _CHOICES[entry.name]
        resolved = dict(values)
        # where(m, y, y) drops neither branch of y, and one id cannot stand for two scalings.
        if arguments[names[0]] is arguments[names[1]]:
            return values
        for name, is_true in zip(names, (True, False), strict=True):
            tensor = arguments.get(name)
            known = self._valid(tensor)
            # The same tensor, and no equal one: what is equal on this example may differ on another.
            if known is not None and known.mask() is arguments[mask_name]:
                resolved[id(tensor)] = self._with_doubts(_branch(known, is_true), values[id(tensor)])
        return resolved

    def of_result(self, transfer: TransferFunction, values: Mapping[int, Value]) -> Branches | None:
        """Return the branches of the result of an operation, None if it has none.

        Args:
            transfer: Says how the result scales if arguments scale otherwise.
            values: How the arguments scale, by id.
        """
        schema, entry = transfer.op._schema, transfer.entry
        # Results in memory of arguments may be written to through those.
        returns_new = all(argument.alias_info is None for argument in schema.arguments)
        if not (entry.elementwise or entry.name in _CHOICES) or not returns_new or len(schema.returns) != 1:
            return None
        known = {
            id(t): branches for t in tensors_in(transfer.arguments.values()) if (branches := self._valid(t)) is not None
        }
        if known:
            return self._carried(transfer, known, values)
        return self._opened(entry.name, transfer.arguments, values) if entry.name in _CHOICES else None

    def remember(self, result: Tensor, branches: Branches) -> None:
        """Take the branches for those of a tensor."""
        # Of comparisons and indices nothing is divided.
        if has_storage(result) and result.dtype.is_floating_point:
            self._branches[result] = branches, self._state(result)

    def _opened(self, name: str, arguments: Mapping[str, object], values: Mapping[int, Value]) -> Branches | None:
        """Return what stands in the branches of a choice."""
        mask_name, *names = _CHOICES[name]
        mask = arguments[mask_name]
        scaling = values.get(id(mask))
        if (
            not isinstance(mask, Tensor)
            or not has_storage(mask)
            or not isinstance(scaling, Scaling)
            or not (scaling.zero or scaling.degree == 0)
        ):
            return None  # what speaks against the mask itself comes back with it in the second choice
        true, false = (_varying(self._joined(values.get(id(arguments[name]), CONSTANT))) for name in names)
        return Branches(weakref.ref(mask), self._state(mask), true, false)

    def _carried(
        self, transfer: TransferFunction, known: Mapping[int, Branches], values: Mapping[int, Value]
    ) -> Branches | None:
        """Return what an operation makes of the branches of its arguments."""
        # Two masks would make four branches.
        first = next(iter(known.values()))
        if any(other.mask() is not first.mask() for other in known.values()):
            return None
        true, false = (
            transfer({**values, **{k: self._with_doubts(_branch(b, is_true), values[k]) for k, b in known.items()}})
            for is_true in (True, False)
        )
        return Branches(first.mask, first.mask_state, self._joined(true[0]), self._joined(false[0]))

    def _joined(self, value: Value) -> Scaling:
        return self._shadows.interned.join(value)

    def _valid(self, tensor: object) -> Branches | None:
        """Return the branches of a tensor that is what it was, and whose mask is what it was."""
        if not isinstance(tensor, Tensor) or tensor not in self._branches:
            return None
        branches: Branches
        branches, state = self._branches[tensor]
        mask = branches.mask()
        valid = state == self._state(tensor) and mask is not None and branches.mask_state == self._state(mask)
        return branches if valid else None

    def _with_doubts(self, branch: Scaling, value: Value) -> Scaling:
        """Return a branch with what has been noted since against the tensor's gradient, or as unknown."""
        return branch.because(*(reason for reason in self._joined(value).reasons if reason.kind != "value"))

    def _state(self, tensor: Tensor) -> _State:
        storage = tensor.untyped_storage()
        writes = self._shadows.writes(tensor)
        return _State(tensor.size(), tensor.stride(), int(tensor.storage_offset()), storage.data_ptr(), writes)


def _varying(branch: Scaling) -> Scaling:
    """Return the scaling of a branch as one that varies, so that no rule looks at the values it has now."""
    return replace(branch, degree=0.0, constant=False, stepwise=True) if branch.constant else branch


def _branch(branches: Branches, is_true: bool) -> Scaling:
    return branches.if_true if is_true else branches.if_false
