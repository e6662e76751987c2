"""Shifts that cancel: a maximum is subtracted before an exponential, detached, and divides out again.

``e = (z - m).exp(); e / e.sum(1, keepdim=True)`` does not depend on ``m``, so its gradient is right although ``m`` was
cut off from autograd. What the cut number is, does not matter as long as it cancels. So a :class:`Shift` says how a
tensor changes if the cut numbers change by δ: it gains c·δ (``z - m`` has c = −1), or is multiplied by e^(c·δ) (``e``,
and its sum over a dimension along which ``m`` does not vary). Where c comes to 0, the reason against the cut is gone.

What must never happen: the cut has reached a result in another way as well. So each argument with a reason against it
that came from this cut must have a shift by it; any other operation ends the shift, and the reason stays. Which element
of ``m`` an element goes with is told by where that lies in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from captum_xg._core.recorder import OpEvent
from captum_xg._core.storage import has_storage
from captum_xg.homogeneity.certificate.gradient_cuts import GradientCuts
from captum_xg.homogeneity.certificate.shadow_memory import Value
from captum_xg.homogeneity.certificate.trace import Trace
from captum_xg.homogeneity.certificate.value_graph import Node, Reading
from captum_xg.homogeneity.certificate.vanishing import unanimous
from captum_xg.homogeneity.degree import Reason, Scaling

UNSETTLED = Reason(
    "subtracts what is cut off from autograd before an exponential, which need not cancel",
    "Let the gradient pass, or divide by the sum of the same exponentials, without eps",
    kind="unknown",
)
_SUMS = {"scatter_add": "src", "index_add": "source"}


@dataclass(frozen=True)
class Shift:
    """How a tensor changes if cut numbers change by δ.

    Attributes:
        source: The node of the cut numbers.
        exponential: It is multiplied by e^(c·δ); else it gains c·δ.
        factor: c.
        witnesses: For each element which of the source's elements it goes with, by where that lies in memory.
        reasons: What is said against it because of the cut.
        cut_only: It was made of nothing but what is cut off, so that it is no news that it is as well.
    """

    source: Node
    exponential: bool
    factor: float
    witnesses: Tensor
    reasons: frozenset[Reason]
    cut_only: bool


class Shifts:
    """Follows shifts through the operations of one forward pass.

    Args:
        trace: Says what runs now.
        gradients: Knows what is cut off.
    """

    def __init__(self, trace: Trace, gradients: GradientCuts) -> None:
        self._trace = trace
        self._gradients = gradients
        self._shifts: WeakKeyDictionary[torch.UntypedStorage, tuple[int, Shift]] = WeakKeyDictionary()
        self._pending: Shift | None = None

    def before(
        self, event: OpEvent, result: Scaling, values: Mapping[int, Value], readings: Mapping[int, Reading | None]
    ) -> Scaling:
        """Return how a result scales, without what is said against a cut that has cancelled."""
        self._pending = None
        if not any(reason.kind != "value" for reason in result.reasons):
            return result
        known = {
            id(t): shift for t in event.tensors if (shift := self._of(t, values[id(t)], readings[id(t)])) is not None
        }
        join = self._trace.shadows.interned.join
        dependent = [t for t in event.tensors if join(values[id(t)]).depends_on_input]
        cut_only = all(map(self._gradients.is_cut, dependent))
        if not event.records_gradients and not cut_only:
            return result  # another cut, of which nobody says more, as something is said already
        reasons = frozenset().union(*(shift.reasons for shift in known.values()))
        if len({shift.source for shift in known.values()}) != 1 or self._others_have(reasons, event, known, values):
            return result
        shift = _Step(event, known, self._trace).shift()
        if shift is not None and shift.factor == 0:
            return replace(result, reasons=result.reasons - reasons)
        if shift is not None and shift.exponential:
            unsettled = frozenset({self._trace.located(UNSETTLED)})
            result = replace(result, reasons=(result.reasons - reasons) | unsettled)
            reasons |= unsettled
        self._pending = None if shift is None else replace(shift, reasons=reasons, cut_only=cut_only)
        return result

    def _others_have(
        self, reasons: frozenset[Reason], event: OpEvent, known: Mapping[int, Shift], values: Mapping[int, Value]
    ) -> bool:
        """Return whether the cut has reached an argument of which nothing is known."""
        join = self._trace.shadows.interned.join
        return any(id(t) not in known and join(values[id(t)]).reasons & reasons for t in event.tensors)

    def after(self, event: OpEvent) -> None:
        """Note the shift of what the operation returned."""
        shift, tensor = self._pending, event.output
        self._pending = None
        if shift is None or not isinstance(tensor, Tensor) or not has_storage(tensor):
            return
        elements = tensor.untyped_storage().nbytes() // tensor.element_size()
        if tensor.numel() != elements or shift.witnesses.shape != tensor.shape:
            return
        whole = torch.full((elements,), -1)
        whole.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset()).copy_(shift.witnesses)
        writes = self._trace.shadows.writes(tensor)
        self._shifts[tensor.untyped_storage()] = writes, replace(shift, witnesses=whole)

    def _of(self, tensor: Tensor, value: Value, reading: Reading | None) -> Shift | None:
        scaling = self._trace.shadows.interned.join(value)
        cut = frozenset(reason for reason in scaling.reasons if reason.kind != "value")
        if reading is None or not cut:
            return None
        writes, shift = self._shifts.get(tensor.untyped_storage(), (-1, None))
        if shift is not None and writes == self._trace.shadows.writes(tensor):
            # A shift ends where what has it is cut off again: what cancels then is not what autograd differentiates.
            fresh = self._gradients.is_cut(tensor) and not shift.cut_only
            return None if fresh else replace(shift, witnesses=shift.witnesses[reading.places()])
        if not self._gradients.is_cut(tensor):
            return None
        return Shift(reading.node, False, 1.0, reading.places(), cut, cut_only=True)


class _Step:
    """One operation on what has a shift by one source."""

    def __init__(self, event: OpEvent, known: Mapping[int, Shift], trace: Trace) -> None:
        self._arguments = event.arguments
        self._name = event.name.removeprefix("aten::").removesuffix("_")
        self._known, self._trace = known, trace

    def shift(self) -> Shift | None:
        """Return the shift of the result, None if it has none."""
        name, left = self._name, self._shift("self")
        if name in ("add", "sub", "mul", "div"):
            return self._of_two()
        if left is None:
            return self._summed() if name in _SUMS else None
        result: Shift | None = None
        if name in ("clone", "contiguous", "_to_copy", "alias_copy") or (name == "neg" and left.exponential):
            result = left
        elif name == "neg":
            result = replace(left, factor=-left.factor)
        elif name == "exp" and not left.exponential:
            result = replace(left, exponential=True)
        elif name == "log" and left.exponential:
            result = replace(left, exponential=False)
        elif name in ("sum", "mean", "amax", "logsumexp", "_softmax", "_log_softmax"):
            result = self._reduced(left)
        elif name in ("index_select", "gather", "index"):
            result = self._picked(left)
        elif name in ("_unsafe_view", "reshape"):
            result = self._reshaped(left)
        elif name == "masked_fill":
            result = left if self._arguments["value"] == (0 if left.exponential else -float("inf")) else None
        elif name in ("mm", "bmm") and left.exponential and self._shift("mat2") is None:
            rows = unanimous(left.witnesses, {"dim": [-1], "keepdim": True})
            other = self._arguments["mat2"]
            assert isinstance(other, Tensor)
            result = self._if_all(replace(left, witnesses=rows.expand(*rows.shape[:-1], other.shape[-1])))
        return result

    def _shift(self, name: str) -> Shift | None:
        return self._known.get(id(self._arguments.get(name)))

    def _of_two(self) -> Shift | None:
        left, right = self._shift("self"), self._shift("other")
        given = [shift for shift in (left, right) if shift is not None]
        if not given or self._arguments.get("alpha", 1) != 1 or self._arguments.get("rounding_mode") is not None:
            return None
        first, times = given[0], self._name in ("mul", "div")
        shape = torch.broadcast_shapes(*(t.shape for t in self._operands()))  # type: ignore[no-untyped-call]
        first = replace(first, witnesses=first.witnesses.expand(shape))
        if any(s.exponential != first.exponential or not _same(s, first.witnesses) for s in given):
            return None
        if times and not first.exponential:
            number = self._arguments["other"]
            factor = _as_factor(number, self._name == "div") if right is None else None
            return None if factor is None else replace(first, factor=first.factor * factor)
        if first.exponential and not times:
            return first if left is not None and right is not None and left.factor == right.factor else None
        one, other = (0.0 if shift is None else shift.factor for shift in (left, right))
        return replace(first, factor=one - other if self._name in ("sub", "div") else one + other)

    def _operands(self) -> list[Tensor]:
        return [t for name in ("self", "other") if isinstance(t := self._arguments[name], Tensor)]

    def _reduced(self, left: Shift) -> Shift | None:
        softmax = self._name.endswith("softmax")
        if left.exponential == (softmax or self._name == "logsumexp"):
            return None
        given = {**self._arguments, "keepdim": True} if softmax else self._arguments
        witnesses = unanimous(left.witnesses, given)
        if softmax:
            return self._if_all(replace(left, factor=0.0, witnesses=witnesses))
        return self._if_all(replace(left, witnesses=witnesses))

    def _reshaped(self, left: Shift) -> Shift | None:
        size = self._arguments.get("size", self._arguments.get("shape"))
        return replace(left, witnesses=left.witnesses.reshape(size)) if isinstance(size, list) else None

    def _if_all(self, shift: Shift) -> Shift | None:
        return shift if bool((shift.witnesses >= 0).all()) else None

    def _picked(self, left: Shift) -> Shift | None:
        """Return the shift of elements at constant indices."""
        index = self._arguments["indices" if self._name == "index" else "index"]
        indices = index if isinstance(index, (list, tuple)) else [index]
        if not all(i is None or (isinstance(i, Tensor) and self._is_fixed(i)) for i in indices):
            return None
        here = [i.cpu() if isinstance(i, Tensor) else None for i in indices]
        if self._name == "index":
            return replace(left, witnesses=torch.ops.aten.index.Tensor(left.witnesses, here))
        return replace(left, witnesses=getattr(torch, self._name)(left.witnesses, self._arguments["dim"], here[0]))

    def _summed(self) -> Shift | None:
        """Return the shift of sums at constant indices, of which each must be over what goes with one element."""
        added, target, index = self._shift(_SUMS[self._name]), self._arguments["self"], self._arguments["index"]
        if added is None or not added.exponential or not isinstance(target, Tensor) or not isinstance(index, Tensor):
            return None
        if not self._trace.shadows.scaling(target).zero or not self._is_fixed(index):
            return None
        dim = self._arguments["dim"]
        assert isinstance(dim, int)
        if self._name == "index_add":
            shape = [-1 if d == dim % added.witnesses.dim() else 1 for d in range(added.witnesses.dim())]
            index = index.reshape(shape).expand(added.witnesses.shape)
        witnesses = added.witnesses
        if index.shape != witnesses.shape:
            return None
        found = torch.full(target.shape, -1).scatter(dim, index.cpu(), witnesses)
        if not torch.equal(found.gather(dim, index.cpu()), witnesses):
            return None
        return replace(added, witnesses=found)

    def _is_fixed(self, index: Tensor) -> bool:
        scaling = self._trace.shadows.scaling(index)
        if not scaling.constant or not scaling.proven:
            return False
        self._trace.assumptions.read(index)
        return True


def _same(shift: Shift, witnesses: Tensor) -> bool:
    return torch.equal(shift.witnesses.expand(witnesses.shape), witnesses)


def _as_factor(number: object, divides: bool) -> float | None:
    if not isinstance(number, (int, float)) or number == 0:
        return None
    return 1 / number if divides else number
