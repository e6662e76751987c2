"""Transfer functions on tensors: how the results of an operation scale, from how its arguments do.

A degree rule sees one scaling per argument. Here it is applied to tensors whose elements scale differently, in one of
three ways: an operation that only *moves* elements is run on their codes, and so says itself where each one goes; for
one that works *element by element* the rule is asked once for each combination of scalings that meets at some place;
all others get the scaling of the sum of an argument's parts.

Example: ``torch.cat([x, one])`` has two parts. It moves, so the result keeps them apart, and ``[..., :3]`` of it is x
again. ``relu`` of it works element by element: it asks for degree 1 and for a constant.

What must never happen: a place that the input decides about is taken for fixed. So elements are moved only where what
says where they go is a constant without reservation, and the proof then depends on all of its values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch._ops import OpOverload

from captum_xg._core.operations import schema_of, tensors_in
from captum_xg.homogeneity.certificate.shadow_memory import PerElement, Value
from captum_xg.homogeneity.certificate.trace import Trace
from captum_xg.homogeneity.degree import Reason, Scaling, mismatch
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.reasons import Located
from captum_xg.homogeneity.rules.registry import Entry


@dataclass(frozen=True)
class TransferFunction:
    """The rule of an operation with the arguments of one call.

    Attributes:
        entry: The rule.
        op: The operation.
        arguments: Its arguments by name.
        n_results: How many scalings the rule gives.
        trace: Answers questions about constants, and says where what is wrong is.
    """

    entry: Entry
    op: OpOverload
    arguments: Mapping[str, object]
    n_results: int
    trace: Trace

    def __call__(self, values: Mapping[int, Value]) -> list[Value]:
        """Return how the results scale, from how the tensors among the arguments do, by their id."""
        # Moving comes first: it is exact where the other two have to join parts.
        if self.entry.moves and (moved := self._moved(values)) is not None:
            return [moved] * self.n_results
        if self.entry.elementwise and any(isinstance(value, PerElement) for value in values.values()):
            # What stood where the result is put does not enter it.
            outs = schema_of(self.op).outs
            read = list(tensors_in(value for name, value in self.arguments.items() if name not in outs))
            if any(isinstance(values[id(t)], PerElement) for t in read):
                return self._by_combination(values, read)
        return list(self._ask(self._joined(values)))

    def _joined(self, values: Mapping[int, Value]) -> dict[int, Scaling]:
        return {key: self.trace.shadows.interned.join(value) for key, value in values.items()}

    def _ask(self, scalings: Mapping[int, Scaling]) -> list[Scaling]:
        call = OpCall(self.op, self.arguments, scalings, self.trace.assumptions)
        return [self._located(result) for result in self.entry.results(call, self.n_results)]

    def _located(self, result: Scaling) -> Scaling:
        """Return a result with the place that is running now for each new reason; old ones may be hundreds."""
        new = [reason for reason in result.reasons if not isinstance(reason, Located)]
        if not new:
            return result
        return replace(result, reasons=result.reasons.difference(new).union(map(self.trace.located, new)))

    def _by_combination(self, values: Mapping[int, Value], read: list[Tensor]) -> list[Value]:
        """Ask once for each combination of scalings that meets at some place."""
        interned = self.trace.shadows.interned
        shape = torch.broadcast_shapes(*(t.shape for t in read))  # type: ignore[no-untyped-call]
        parted = {id(t): value for t in read if isinstance(value := values[id(t)], PerElement)}
        uniform = {key: value for key, value in values.items() if isinstance(value, Scaling)}
        grids = torch.stack([value.codes.expand(shape).reshape(-1) for value in parted.values()])
        combinations, places = grids.unique(dim=1, return_inverse=True)  # type: ignore[no-untyped-call]
        answers: list[list[Scaling]] = []
        known: list[frozenset[Reason]] = []
        for combination in combinations.T.tolist():
            scalings = uniform | {key: interned[code] for key, code in zip(parted, combination, strict=True)}
            answers.append(self._ask(scalings))
            known.append(frozenset().union(*(scaling.reasons for scaling in scalings.values())))
        reason = next(value.reason for value in parted.values())
        results: list[Value] = []
        for answer in zip(*_blaming_the_mixing(answers, known, reason), strict=True):
            codes = torch.tensor([interned.code(scaling) for scaling in answer], dtype=torch.int32)
            results.append(answer[0] if len(set(answer)) == 1 else PerElement(codes[places].reshape(shape), reason))
        return results

    def _moved(self, values: Mapping[int, Value]) -> Value | None:
        """Let the operation move codes as it moves elements; None if nothing needs telling apart."""
        interned = self.trace.shadows.interned
        moved: list[object] = []
        for name in self.entry.moves:
            value = self.arguments.get(name)
            moved += value if isinstance(value, (list, tuple)) else [value]
        moved = [value for value in moved if value is not None]
        ids = {id(value) for value in moved}
        if any(
            not isinstance(v, Scaling) or v.depends_on_input or v.reasons for key, v in values.items() if key not in ids
        ):
            return None  # where the input says what goes where, the places seen now are not those for another input
        joined = self._joined(values)
        call = OpCall(self.op, self.arguments, joined, self.trace.assumptions)
        parts: list[Value] = []
        for value, neutralised in zip(moved, call.neutralised(*moved), strict=True):
            kept = values.get(id(value), neutralised)
            parts.append(kept if isinstance(kept, PerElement) else neutralised)
        parted = [part for part in parts if isinstance(part, PerElement)]
        present = {part for part in parts if isinstance(part, Scaling) and not part.zero}
        if len(present) <= 1 and not parted:
            return None
        for chooser in (t for t in tensors_in(self.arguments.values()) if id(t) not in ids):
            self.trace.assumptions.read(chooser)  # which element goes where holds for these values of it
        result = self._run({id(value): self._codes(value, part) for value, part in zip(moved, parts, strict=True)})
        if result is None:
            return None
        present |= {scaling for part in parted for scaling in interned.present(part.codes)}
        own = self._ask(joined)[0].reasons.difference(*(s.reasons for s in present))
        doubts = [reason for reason in own if reason.kind != "value"]
        reason = next((part.reason for part in parted if part.reason is not None), None)
        if reason is None:
            reason = next((reason for reason in own if reason.kind == "value"), None) or self.trace.located(
                mismatch(*(s for s in present if not s.zero), verb="joins", preposition="with")
            )
        # What a rule says against the whole (a gradient that is not right) holds for every element.
        joint = PerElement(result, reason)
        return interned.map(joint, lambda scaling: scaling.because(*doubts)) if doubts else joint

    def _codes(self, value: object, part: Value) -> Tensor | float:
        """Return codes in the place of a value, as floating-point numbers, which every operation takes."""
        if isinstance(part, PerElement):
            return part.codes.double()
        code = float(self.trace.shadows.interned.code(part))
        return torch.full(value.shape, code, dtype=torch.float64) if isinstance(value, Tensor) else code

    def _run(self, codes: Mapping[int, Tensor | float]) -> Tensor | None:
        """Return the result of the operation on codes, None if it does not take them."""

        def stand_in(value: object, moved: bool) -> object:
            if isinstance(value, (list, tuple)):
                return type(value)(stand_in(part, moved) for part in value)
            if moved and id(value) in codes:
                return codes[id(value)]
            return value.detach().cpu() if isinstance(value, Tensor) else value

        replaced = {name: stand_in(value, name in self.entry.moves) for name, value in self.arguments.items()}
        schema = self.op._schema.arguments
        positional = [replaced[a.name] for a in schema if not a.kwarg_only]
        # Codes stay on the CPU and in float64, whatever the operation was asked for.
        named = {a.name: replaced[a.name] for a in schema if a.kwarg_only and a.name not in ("device", "dtype", "out")}
        try:
            # In-place forms write to the stand-in, which is a copy, and return it.
            positional = [p.clone() if isinstance(p, Tensor) and p.dtype == torch.float64 else p for p in positional]
            result = self.op(*positional, **named)
        except (RuntimeError, TypeError, NotImplementedError):
            return None
        return result.round().int() if isinstance(result, Tensor) else None


def _blaming_the_mixing(
    answers: list[list[Scaling]], known: list[frozenset[Reason]], mixing: Reason | None
) -> list[list[Scaling]]:
    """Where only some parts of a tensor do not fit, blame what has put them into it, not what works on all of it."""
    added = [
        {reason for scaling in answer for reason in scaling.reasons - before if reason.kind == "value"}
        for answer, before in zip(answers, known, strict=True)
    ]
    if mixing is None or all(added) or not any(added):
        return answers
    blamed: set[Reason] = set().union(*added)
    return [
        [scaling.with_reasons(lambda reason: mixing if reason in blamed else reason) for scaling in answer]
        for answer in answers
    ]
