"""From rules, which see one scaling per argument, to tensors whose elements scale differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from captum_xg.homogeneity.certificate.shadow_memory import Mixed, Palette, Value
from captum_xg.homogeneity.degree import Reason, Scaling, mismatch
from captum_xg.homogeneity.rules.op_call import Constants, OpCall, tensors_in
from captum_xg.homogeneity.rules.registry import Entry


class Lift:
    """Asks rules how the results of operations scale.

    Args:
        palette: Numbers for scalings.
        constants: Answers questions about constants.
        locate: Gives a new reason the place that is running now.
    """

    def __init__(self, palette: Palette, constants: Constants, locate: Callable[[Reason], Reason]) -> None:
        self._palette = palette
        self._constants = constants
        self._locate = locate

    def __call__(
        self, entry: Entry, func: Any, arguments: Mapping[str, Any], values: Mapping[int, Value], n_results: int
    ) -> list[Value]:
        """Return how the results scale, one value for each."""
        if entry.moves and (moved := self._moved(entry, func, arguments, values)) is not None:
            return [moved] * n_results
        outs = {id(t) for a in func._schema.arguments if a.is_out for t in tensors_in([arguments[a.name]])}
        if entry.elementwise and any(isinstance(v, Mixed) for key, v in values.items() if key not in outs):
            return self._by_combination(entry, func, arguments, values, n_results)
        together = {key: self._palette.together(value) for key, value in values.items()}
        return list(self._ask(entry, func, arguments, together, n_results))

    def _ask(
        self, entry: Entry, func: Any, arguments: Mapping[str, Any], scalings: Mapping[int, Scaling], n_results: int
    ) -> list[Scaling]:
        results = entry.results(OpCall(func, arguments, scalings, self._constants), n_results)
        return [result.with_reasons(self._locate) for result in results]

    def _by_combination(
        self, entry: Entry, func: Any, arguments: Mapping[str, Any], values: Mapping[int, Value], n_results: int
    ) -> list[Value]:
        """Ask once for each combination of scalings that meets at some place."""
        outs = {a.name for a in func._schema.arguments if a.is_out}
        read = tensors_in(value for name, value in arguments.items() if name not in outs)
        shape = torch.broadcast_shapes(*(t.shape for t in read))  # type: ignore[no-untyped-call]
        written = {id(t) for t in tensors_in(arguments[name] for name in outs)}
        mixed = {key: value for key, value in values.items() if isinstance(value, Mixed) and key not in written}
        uniform = {key: value for key, value in values.items() if isinstance(value, Scaling)}
        grids = torch.stack([value.codes.expand(shape).reshape(-1) for value in mixed.values()])
        combinations, places = grids.unique(dim=1, return_inverse=True)  # type: ignore[no-untyped-call]
        answers: list[list[Scaling]] = []
        known: list[frozenset[Reason]] = []
        for combination in combinations.T.tolist():
            scalings = uniform | {key: self._palette[code] for key, code in zip(mixed, combination, strict=True)}
            answers.append(self._ask(entry, func, arguments, scalings, n_results))
            known.append(frozenset().union(*(scaling.reasons for scaling in scalings.values())))
        reason = next(value.reason for value in mixed.values())
        answers = _blaming_the_mixing(answers, known, reason)
        results: list[Value] = []
        for answer in zip(*answers, strict=True):
            codes = torch.tensor([self._palette.code(scaling) for scaling in answer], dtype=torch.int32)
            results.append(answer[0] if len(set(answer)) == 1 else Mixed(codes[places].reshape(shape), reason))
        return results

    def _moved(
        self, entry: Entry, func: Any, arguments: Mapping[str, Any], values: Mapping[int, Value]
    ) -> Value | None:
        """Let the operation move numbers of scalings as it moves elements; None if nothing needs telling apart."""
        moved: list[Any] = []
        for name in entry.moves:
            value = arguments.get(name)
            moved += value if isinstance(value, (list, tuple)) else [value]
        moved = [value for value in moved if value is not None]
        ids = {id(value) for value in moved}
        if any(
            not isinstance(v, Scaling) or v.depends_on_input or v.reasons for key, v in values.items() if key not in ids
        ):
            return None  # where the input says what goes where, the places seen now are not those for another input
        together = {key: self._palette.together(value) for key, value in values.items()}
        call = OpCall(func, arguments, together, self._constants)
        parts: list[Value] = []
        for value, neutralised in zip(moved, call.neutralised(*moved), strict=True):
            kept = values.get(id(value), neutralised)
            parts.append(kept if isinstance(kept, Mixed) else neutralised)
        present = {part for part in parts if isinstance(part, Scaling) and not part.zero}
        if len(present) <= 1 and not any(isinstance(part, Mixed) for part in parts):
            return None
        codes = {
            id(value): part.codes.double()
            if isinstance(part, Mixed)
            else torch.full(value.shape, float(self._palette.code(part)), dtype=torch.float64)
            if isinstance(value, Tensor)
            else float(self._palette.code(part))
            for value, part in zip(moved, parts, strict=True)
            if isinstance(part, (Scaling, Mixed))
        }
        for chooser in (t for t in tensors_in(arguments.values()) if id(t) not in ids):
            self._constants.read(chooser)  # which element goes where holds for these values of it
        result = _run(func, arguments, entry.moves, codes)
        if result is None:
            return None
        present |= {s for part in parts if isinstance(part, Mixed) for s in self._palette.scalings(part.codes)}
        reasons = [part.reason for part in parts if isinstance(part, Mixed) and part.reason is not None]
        own = self._ask(entry, func, arguments, together, 1)[0].reasons.difference(*(s.reasons for s in present))
        doubts = [reason for reason in own if reason.kind != "value"]
        clash = next((reason for reason in own if reason.kind == "value"), None) or self._locate(
            mismatch(*(s for s in present if not s.zero), verb="joins", preposition="with")
        )
        mixed = Mixed(result, reasons[0] if reasons else clash)
        return self._palette.mapped(mixed, lambda scaling: scaling.because(*doubts)) if doubts else mixed


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


def _run(func: Any, arguments: Mapping[str, Any], moves: tuple[str, ...], codes: Mapping[int, Any]) -> Tensor | None:
    """Return the result of the operation on numbers of scalings, None if it cannot be had."""

    def stand_in(value: Any, moved: bool) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(stand_in(part, moved) for part in value)
        if moved and id(value) in codes:
            return codes[id(value)]
        return value.detach().cpu() if isinstance(value, Tensor) else value

    replaced = {name: stand_in(value, name in moves) for name, value in arguments.items()}
    schema = func._schema.arguments
    positional = [replaced[a.name] for a in schema if not a.kwarg_only]
    named = {a.name: replaced[a.name] for a in schema if a.kwarg_only and a.name not in ("device", "dtype", "out")}
    try:
        # In-place forms write to the stand-in, which is a copy, and return it.
        positional = [p.clone() if isinstance(p, Tensor) and p.dtype == torch.float64 else p for p in positional]
        result = func(*positional, **named)
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    return result.round().int() if isinstance(result, Tensor) else None
