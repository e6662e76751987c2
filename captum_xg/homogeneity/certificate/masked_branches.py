"""Choices by a mask that are taken back: the safe division ``where(m, x / where(m, n, 1), 0)``.

``where(m, n, 1)`` puts a constant beside what scales, so as a whole it does not scale. But if the mask does not change
with α, each half does: n where m is true, the constant elsewhere. A *guard* remembers both halves. It goes along with
operations that work element by element, and a second choice by the same mask takes the half that is good and drops the
other.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from captum_xg._core.operations import tensors_in
from captum_xg._core.storage import has_storage
from captum_xg.homogeneity.certificate.shadow_memory import Shadows, Value
from captum_xg.homogeneity.degree import CONSTANT, Scaling
from captum_xg.homogeneity.rules.registry import Entry

_CHOICES = {"aten::where": ("condition", "self", "other"), "aten::masked_fill": ("mask", "value", "self")}
"""Operations that choose: the mask, what stands where it is true, and what elsewhere."""

Rule: TypeAlias = Callable[[Mapping[int, Value]], list[Value]]
"""From how the arguments of an operation scale to how its results do."""


@dataclass(frozen=True)
class _State:
    """A tensor as it was: which memory in which order, and how often it had been written to."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    memory: int
    writes: int


@dataclass(frozen=True)
class _Guard:
    """How the elements of a tensor scale at which a mask (broadcast to it) is true, and how the others do."""

    mask: weakref.ref[Tensor]
    mask_state: _State
    state: _State
    if_true: Scaling
    if_false: Scaling


_Halves: TypeAlias = "tuple[weakref.ref[Tensor], _State, Scaling, Scaling]"


class Guards:
    """Remembers choices for the tensors of one forward pass.

    A guard belongs to one tensor, not to its memory: a view, such as a transpose, meets the mask at other elements.

    Args:
        shadows: Knows what has been written to.
    """

    def __init__(self, shadows: Shadows) -> None:
        self._shadows = shadows
        self._guards = WeakIdKeyDictionary()

    def resolved(self, entry: Entry, arguments: Mapping[str, Any], values: Mapping[int, Value]) -> Mapping[int, Value]:
        """Return how arguments scale, where a choice drops one half of what an earlier choice by its mask has made."""
        if entry.name not in _CHOICES:
            return values
        mask_name, *names = _CHOICES[entry.name]
        resolved = dict(values)
        if arguments[names[0]] is arguments[names[1]]:
            return values
        for name, half in zip(names, (_if_true, _if_false), strict=True):
            tensor = arguments.get(name)
            guard = self._valid(tensor)
            if guard is not None and guard.mask() is arguments[mask_name]:
                resolved[id(tensor)] = self._with_doubts(half(guard), values[id(tensor)])
        return resolved

    def of_result(
        self, entry: Entry, func: Any, arguments: Mapping[str, Any], values: Mapping[int, Value], rule: Rule
    ) -> Callable[[Tensor], None] | None:
        """Return what sets a guard on the result of an operation, None if there is nothing to guard.

        Args:
            entry: The operation's rule.
            func: The operation.
            arguments: Its arguments by name.
            values: How they scale.
            rule: Gives how the result scales if arguments scale otherwise.
        """
        applicable = entry.elementwise or entry.name in _CHOICES
        returns_new = all(argument.alias_info is None for argument in func._schema.arguments)
        if not applicable or not returns_new or len(func._schema.returns) != 1:
            return None
        guards = {id(t): known for t in tensors_in(arguments.values()) if (known := self._valid(t)) is not None}
        if guards:
            opened = self._carried(guards, values, rule)
        elif entry.name in _CHOICES:
            opened = self._opened(entry.name, arguments, values)
        else:
            opened = None
        if opened is None:
            return None
        mask, mask_state, true, false = opened

        def guard(result: Tensor) -> None:
            if has_storage(result) and result.dtype.is_floating_point:
                self._guards[result] = _Guard(mask, mask_state, self._state(result), true, false)

        return guard

    def _opened(self, name: str, arguments: Mapping[str, Any], values: Mapping[int, Value]) -> _Halves | None:
        """Return what stands in the halves of a choice."""
        mask_name, *names = _CHOICES[name]
        mask = arguments[mask_name]
        scaling = values.get(id(mask))
        if not has_storage(mask) or not isinstance(scaling, Scaling) or not (scaling.zero or scaling.degree == 0):
            return None  # what speaks against the mask itself comes back with it in the second choice
        true, false = (_varying(self._together(values.get(id(arguments[name]), CONSTANT))) for name in names)
        return weakref.ref(mask), self._state(mask), true, false

    def _carried(self, guards: Mapping[int, _Guard], values: Mapping[int, Value], rule: Rule) -> _Halves | None:
        """Return what an operation makes of the halves of its arguments."""
        first = next(iter(guards.values()))
        if any(other.mask() is not first.mask() for other in guards.values()):
            return None
        true, false = (
            self._together(
                rule({**values, **{k: self._with_doubts(half(known), values[k]) for k, known in guards.items()}})[0]
            )
            for half in (_if_true, _if_false)
        )
        return first.mask, first.mask_state, true, false

    def _together(self, value: Value) -> Scaling:
        return self._shadows.palette.together(value)

    def _valid(self, tensor: Any) -> _Guard | None:
        """Return the guard of a tensor that is what it was, and whose mask is what it was."""
        if not isinstance(tensor, Tensor) or tensor not in self._guards:
            return None
        guard: _Guard = self._guards[tensor]
        if guard.state != self._state(tensor):
            return None
        mask = guard.mask()
        return guard if mask is not None and guard.mask_state == self._state(mask) else None

    def _with_doubts(self, half: Scaling, value: Value) -> Scaling:
        """Return a half with what has been noted since against the tensor's gradient, or as unknown."""
        reasons = self._together(value).reasons
        return half.because(*(reason for reason in reasons if reason.kind != "value"))

    def _state(self, tensor: Tensor) -> _State:
        storage = tensor.untyped_storage()
        writes = self._shadows.writes(tensor)
        return _State(tensor.size(), tensor.stride(), int(tensor.storage_offset()), storage.data_ptr(), writes)


def _varying(half: Scaling) -> Scaling:
    """Return the scaling of a half in a tensor that is no constant, so that no rule looks at the values it has now."""
    return replace(half, degree=0.0, constant=False, stepwise=True) if half.constant else half


def _if_true(guard: _Guard) -> Scaling:
    return guard.if_true


def _if_false(guard: _Guard) -> Scaling:
    return guard.if_false
