"""Case analysis: how the result of one operation scales in each case of its arguments, and so in all of them together.

The operation's rule is asked once for each combination of signs of what decides; of a choice by a mask, the mask says
which side it is. What is zero where a source is enters as zero there.

Example: for ``x / g`` with ``g = torch.where(n > 0, n, 1)`` and n the norm of x, the rule of division is asked for
degrees 1 and 1, and for zero and a constant.

What must never happen: an argument counts in a case that it is not in. So all witnesses must agree at every place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from captum_xg._core.operations import schema_of
from captum_xg.homogeneity.certificate.apply_rule import TransferFunction
from captum_xg.homogeneity.certificate.cases import Case, Cases, Signs
from captum_xg.homogeneity.certificate.masks import Mask, Sign, mask_of, possible_signs
from captum_xg.homogeneity.certificate.shadow_memory import Value
from captum_xg.homogeneity.certificate.trace import Trace
from captum_xg.homogeneity.certificate.value_facts import nonnegative, nonzero
from captum_xg.homogeneity.certificate.value_graph import Node, Reading
from captum_xg.homogeneity.certificate.vanishing import Vanishing
from captum_xg.homogeneity.degree import CONSTANT, ZERO, Reason, Scaling

_CHOICES: Mapping[str, tuple[str, str, str]] = {
    "where": ("condition", "self", "other"),
    "masked_fill": ("mask", "value", "self"),
    "index_put": ("indices", "values", "self"),
}
"""Operations that choose: the mask, what stands where it is true, and what elsewhere."""
_TRUE = Scaling(0.0, stepwise=True)
_MOST_SOURCES = 2
_NONZERO_IF_NONZERO = frozenset({"sqrt", "rsqrt", "abs", "neg", "square", "reciprocal", "pow", "clone", "_to_copy"})


class CaseAnalysis:
    """Infers by cases how the results of operations scale.

    Args:
        trace: Answers questions about constants.

    Attributes:
        trace: As above.
        vanishing: Says what is zero where a source is.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.vanishing = Vanishing()
        self._cases: dict[Node, Cases] = {}
        self._masks: dict[Node, Mask] = {}

    def of_result(
        self, transfer: TransferFunction, values: Mapping[int, Value], readings: Mapping[int, Reading | None]
    ) -> Cases | None:
        """Return the cases of the result of an operation, by element; None if there are none.

        Args:
            transfer: Says how the result scales if arguments scale otherwise.
            values: How the arguments scale, by id.
            readings: The tensors among the arguments as views of nodes, by id.
        """
        name = transfer.entry.name.removeprefix("aten::")
        if not (transfer.entry.elementwise or name in _CHOICES) or len(schema_of(transfer.op).rewrites) != 1:
            return None
        if not any(r is not None and (r.node in self._cases or r.node.dtype == torch.bool) for r in readings.values()):
            return None
        call = _Call(transfer, name, values, readings, self)
        return call.cases() if call.understood else None

    def remember(self, node: Node, cases: Cases) -> None:
        """Take cases, by element of a result, for those of the node that it is."""
        if node not in self._cases:  # else the same numbers were computed before
            self._cases[node] = cases.on(node)

    def part(self, node: Node) -> Cases | Mask | None:
        """Return the cases of a node, or what it says as a mask, or None."""
        if node in self._cases:
            return self._cases[node]
        return self._traced_back(mask_of(node, self._masks)) if node.dtype == torch.bool else None

    def _traced_back(self, mask: Mask) -> Mask:
        """Return a mask that asks for the sign of a choice as one that asks for what decided that choice.

        ``s = torch.where(n > 0, n.sqrt(), 0)`` is zero where n is: ``s != 0`` asks nothing but ``n > 0`` did.
        """
        cases = self._cases.get(mask.sources[0]) if len(mask.sources) == 1 else None
        if cases is None or cases.reasons:
            return mask
        truth = {}
        for signs, case in cases.table.items():
            apart = [sign for sign in possible_signs(mask.sources[0]) if sign != "zero" or not case.nonzero]
            possible: list[Sign] = ["zero"] if case.zero else apart
            says = {mask.truth[(sign,)] for sign in possible}
            if len(says) != 1:
                return mask
            truth[signs] = says.pop()
        places = mask.witnesses[0]
        witnesses = tuple(torch.where(places < 0, -1, each[places.clamp(min=0)]) for each in cases.witnesses)
        return Mask(cases.sources, witnesses, truth)


class _Call:
    """One operation, looked at case by case."""

    def __init__(
        self,
        transfer: TransferFunction,
        name: str,
        values: Mapping[int, Value],
        readings: Mapping[int, Reading | None],
        analysis: CaseAnalysis,
    ) -> None:
        self._transfer, self._name, self._values = transfer, name, values
        self._analysis, self._trace, self._vanishing = analysis, analysis.trace, analysis.vanishing
        self._arguments = dict(transfer.arguments)
        outs = schema_of(transfer.op).outs
        self.understood = not any(self._arguments.get(out) is not None for out in outs) and self._unpack_mask()
        tensors = {id(t): t for t in self._arguments.values() if isinstance(t, Tensor)}
        self._readings = {key: r for key in tensors if (r := readings.get(key)) is not None}
        self._shapes = {key: self._shape(t) for key, t in tensors.items()}
        self.understood = self.understood and set(tensors) == set(self._readings)
        self._sources: list[Node] = []
        self._witnesses: list[Tensor] = []
        self._parts: dict[int, tuple[Cases | Mask, tuple[int, ...]]] = {}
        self._reasons: set[Reason] = set()

    def cases(self) -> Cases | None:
        """Return the cases of the result."""
        self._size = torch.broadcast_shapes(*self._shapes.values())  # type: ignore[no-untyped-call]
        for key, reading in self._readings.items():
            if not self._add_part(key, reading):
                return None
        if not self._parts or len(self._sources) > _MOST_SOURCES:
            return None
        self._pairs = {
            key: [self._relation(r, s, w) for s, w in zip(self._sources, self._witnesses, strict=True)]
            for key, r in self._readings.items()
            if key not in self._parts
        }
        table = {signs: self._case(signs) for signs in product(*map(possible_signs, self._sources))}
        return Cases(tuple(self._sources), tuple(self._witnesses), table, frozenset(self._reasons))

    def _unpack_mask(self) -> bool:
        """Put the mask of ``n[mask] = 1`` in the place of the indices; False if that is not what is done."""
        if self._name != "index_put":
            return True
        indices, number = self._arguments["indices"], self._arguments["values"]
        assert isinstance(indices, (list, tuple))
        assert isinstance(number, Tensor)
        self._arguments["indices"] = indices[0]
        mask = indices[0]
        one = len(indices) == 1 and isinstance(mask, Tensor) and mask.dtype == torch.bool
        return one and number.numel() == 1 and not self._arguments["accumulate"]

    def _shape(self, tensor: Tensor) -> tuple[int, ...]:
        shape = tuple(tensor.shape)
        if self._name == "index_put" and tensor is self._arguments["indices"]:
            target = self._arguments["self"]
            assert isinstance(target, Tensor)
            return shape + (1,) * (target.dim() - len(shape))
        return (1,) if self._name == "index_put" and tensor is self._arguments["values"] else shape

    def _add_part(self, key: int, reading: Reading) -> bool:
        """Note what an argument depends on; False if an element of it has no witness."""
        part = self._analysis.part(reading.node)
        if part is None:
            return True
        scaling = self._trace.shadows.interned.join(self._values[key])
        if isinstance(part, Mask):
            if not scaling.scale_free:
                return True  # nothing is known of what it says at another α
            self._reasons |= scaling.in_steps().reasons
        else:
            self._reasons |= part.reasons
        indices = []
        for source, witnesses in zip(part.sources, part.witnesses, strict=True):
            mine = witnesses[reading.places()].reshape(self._shapes[key]).expand(self._size)
            if bool((mine < 0).any()):
                return False
            indices.append(self._index_of(source, mine))
        self._parts[key] = part, tuple(indices)
        return True

    def _index_of(self, source: Node, witnesses: Tensor) -> int:
        """Return the place of a source with these witnesses, which is new if no argument had it."""
        for i, (other, theirs) in enumerate(zip(self._sources, self._witnesses, strict=True)):
            if other is source and torch.equal(theirs, witnesses):
                return i
        self._sources.append(source)
        self._witnesses.append(witnesses)
        return len(self._sources) - 1

    def _relation(self, reading: Reading, source: Node, witnesses: Tensor) -> Literal["same", "vanishes"] | None:
        """Return whether an argument is the source itself, or zero where that is, at every place."""
        shape = self._shapes_of(reading)
        if reading.node is source and torch.equal(reading.places().reshape(shape).expand(self._size), witnesses):
            return "same"
        ways = (way.reshape(shape).expand(self._size) for way in self._vanishing.because_of(source, reading))
        return "vanishes" if any(torch.equal(way, witnesses) for way in ways) else None

    def _shapes_of(self, reading: Reading) -> tuple[int, ...]:
        return next(self._shapes[key] for key, other in self._readings.items() if other is reading)

    def _case(self, signs: Signs) -> Case:
        given = {name: self._argument(value, signs) for name, value in self._arguments.items()}
        if self._name in _CHOICES:
            mask_name, if_true, if_false = _CHOICES[self._name]
            mask = given[mask_name]
            if mask.nonzero or mask.zero:
                picked = if_true if mask.nonzero else if_false
                return self._picked(given[picked], picked)
        scaling = _varying(self._by_rule(given))
        return Case(scaling, self._is_nonzero(given), scaling.zero and scaling.proven)

    def _picked(self, case: Case, name: str) -> Case:
        value, scaling = self._arguments[name], case.scaling
        # Here its numbers may be looked at: the choice has put them in the result as they are.
        if isinstance(value, Tensor) and scaling.constant and scaling.proven and self._trace.assumptions.is_zero(value):
            return Case(ZERO, False, True)
        return replace(case, scaling=_varying(scaling))

    def _by_rule(self, given: Mapping[str, Case]) -> Scaling:
        """Return what the operation's rule says in one case."""
        scalings: dict[int, Value] = dict(self._values)
        vanishing: dict[int, Value] = {}
        for name, value in self._arguments.items():
            if isinstance(value, Tensor) and id(value) in self._parts:
                scalings[id(value)] = given[name].scaling
            if isinstance(value, Tensor) and given[name].zero:
                vanishing[id(value)] = ZERO
        join = self._trace.shadows.interned.join
        result = join(self._transfer({**scalings, **vanishing})[0])
        if result.proven or not vanishing:
            return result
        # Zero scales as everything does, as what is not zero there does too: 1/0 is infinite, whatever α is.
        other = join(self._transfer(scalings)[0])
        return other if other.reasons < result.reasons else result

    def _argument(self, value: object, signs: Signs) -> Case:
        if not isinstance(value, Tensor):
            zero = isinstance(value, (int, float)) and value == 0
            return Case(ZERO if zero else CONSTANT, nonzero(value), zero)
        key = id(value)
        plain = self._trace.shadows.interned.join(self._values[key])
        if key in self._parts:
            part, indices = self._parts[key]
            mine = tuple(signs[i] for i in indices)
            if isinstance(part, Mask):
                return Case(_TRUE, True) if part.truth[mine] else Case(ZERO, False, True)
            case = part.table[mine]
            # What has been noted since against its gradient, or as unknown.
            doubts = (reason for reason in plain.reasons if reason.kind != "value")
            return replace(case, scaling=case.scaling.because(*doubts))
        relations = self._pairs[key]
        if any(relation and sign == "zero" for relation, sign in zip(relations, signs, strict=True)):
            return Case(plain, False, True)
        apart = "same" in relations  # NaN is not zero either
        return Case(plain, apart or nonzero(self._readings[key]), plain.zero and plain.proven)

    def _is_nonzero(self, given: Mapping[str, Case]) -> bool:
        """Return whether the result is nowhere zero in one case."""
        if self._name in _NONZERO_IF_NONZERO:
            return given["self"].nonzero
        if self._name == "mul":
            return given["self"].nonzero and given["other"].nonzero
        if self._name != "add" or self._arguments["alpha"] != 1:
            return False
        terms = [given["self"], given["other"]]
        never_negative = all(nonnegative(self._reading_or_number(name)) for name in ("self", "other"))
        return any(one.nonzero and (other.zero or never_negative) for one, other in (terms, reversed(terms)))

    def _reading_or_number(self, name: str) -> object:
        value = self._arguments[name]
        return self._readings[id(value)] if isinstance(value, Tensor) else value


def _varying(scaling: Scaling) -> Scaling:
    """Return the scaling of a case as one that varies, so that no rule looks at the values it has now."""
    return replace(scaling, degree=0.0, constant=False, stepwise=True) if scaling.constant else scaling
