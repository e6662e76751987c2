"""Trying an axiom on cases, making sure of a violation, and making its counterexample small."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from captum_xg.metrics.axioms.cases import Case, Comparison, Query
from captum_xg.metrics.axioms.methods import Method, RefusalError
from captum_xg.metrics.axioms.results import AxiomResult, Counterexample, Verdict
from captum_xg.metrics.axioms.shrinking import smaller_cases
from captum_xg.metrics.axioms.sources import Source, ZooSource
from captum_xg.metrics.axioms.statements import Axiom

_MORE = 8  # how much more effort a doubted case gets
_CONFIRMED_AT_MOST = 12
_SHRINKING_TRIALS = 400
_SHOWN = 16  # numbers of an input that are written out


@dataclass(frozen=True)
class Prepared:
    """A case with its queries."""

    case: Case
    queries: tuple[Query, ...]


@dataclass(frozen=True)
class Trial:
    """A case with what came of it.

    Attributes:
        prepared: The case.
        comparison: What was expected and observed.
        rounding: The largest gap that counts as rounding.
        excess: The largest gap relative to what rounding and the error of an estimate explain.
    """

    prepared: Prepared
    comparison: Comparison
    rounding: float
    excess: float

    @property
    def violated(self) -> bool:
        """Whether a gap is larger than what rounding and the error of an estimate explain."""
        return not self.excess <= 1


def prepare(axiom: Axiom, case: Case, *, guarded: bool) -> Prepared | None:
    """Return the case with its queries, None if the axiom says nothing of it."""
    queries = axiom.queries(case)
    if not axiom.admits(case, queries) or (guarded and not axiom.differentiable(case, queries)):
        return None
    return Prepared(case, queries)


def cases_of(axiom: Axiom, source: Source, count: int, seed: int, *, guarded: bool) -> list[Prepared]:
    """Return up to ``count`` cases that the axiom speaks of."""
    draw = Random(f"{axiom.key} {seed}")
    found: list[Prepared] = []
    for _ in range(8 * count):
        if len(found) == count:
            break
        case = axiom.propose(source, draw)
        if case is not None and (prepared := prepare(axiom, case, guarded=guarded)) is not None:
            found.append(prepared)
    return found


class Search:
    """One method against one axiom.

    Args:
        method: The method.
        axiom: The axiom.
        effort: The number of nodes or samples of an estimate.
        seed: What everything random derives from.
    """

    def __init__(self, method: Method, axiom: Axiom, effort: int, seed: int) -> None:
        self.method, self.axiom, self.effort = method, axiom, effort
        self._calls = Random(f"{axiom.key} {seed} calls")
        self.seed = seed

    def run(self, cases: list[Prepared], source: Source, models: str, *, guarded: bool) -> AxiomResult:
        """Return the verdict over all cases, with a small counterexample if there is one."""
        trials, refusals = [], []
        for prepared in cases:
            try:
                trials.append(self.trial(prepared, self.effort))
            except RefusalError as refusal:
                refusals.append(str(refusal))
        violations = sorted((t for t in trials if t.violated), key=lambda t: t.prepared.case.weight)
        confirmed = next((t for t in violations[:_CONFIRMED_AT_MOST] if self._confirmed(t)), None)
        confirmed = confirmed or self._found_with_more_effort(trials)
        counterexample = None
        if confirmed is not None:
            if guarded and isinstance(source, ZooSource):
                confirmed = self._shrunk(self._in_smaller_functions(confirmed, source))
            counterexample = self._shown(confirmed)
        return AxiomResult(
            axiom=self.axiom.key,
            title=self.axiom.title,
            statement=self.axiom.statement,
            method=self.method.name,
            models=models,
            verdict=_verdict(trials, confirmed is not None),
            cases=len(trials),
            violations=max(len(violations), 1) if confirmed is not None else 0,
            undefined=len(refusals),
            reason=refusals[0] if refusals else "" if cases else _nothing(self.axiom, guarded),
            largest_gap=max((t.comparison.gap for t in trials), default=0.0),
            effort=f"{self.method.effort}={self.effort}" if self.method.effort else "",
            counterexample=counterexample,
        )

    def trial(self, prepared: Prepared, effort: int) -> Trial:
        """Attribute and compare.

        Raises:
            RefusalError: Where the method refuses.
        """
        attributions = tuple(self.method.attribute(q, effort, self._calls.randrange(2**31)) for q in prepared.queries)
        comparison = self.axiom.compare(prepared.case, prepared.queries, attributions)
        rounding = self._rounding(prepared, attributions)
        return Trial(prepared, comparison, rounding, self._excess(prepared, comparison.gaps, rounding, effort))

    def _rounding(self, prepared: Prepared, attributions: tuple[Tensor, ...]) -> float:
        """Return the largest gap that counts as rounding."""
        eps = torch.finfo(prepared.case.x.dtype).eps
        sizes = [a.abs().nan_to_num(0.0, 0.0) for a in attributions]
        measured = [self.axiom.measured(prepared.case, size, 1.0).max() for size in sizes]
        factors = self.axiom.factors(prepared.case)
        scale = sum(f * float(max(s.max(), m)) for f, s, m in zip(factors, sizes, measured, strict=True))
        level = max(q.level for q in prepared.queries)
        # Captum's step sizes are float32 whatever the input is.
        return max(1e-6, math.sqrt(eps)) * scale + 64 * eps * max(level, 1e-9)

    def _excess(self, prepared: Prepared, gaps: Tensor, rounding: float, effort: int) -> float:
        """Return the largest gap relative to what rounding and the error of an estimate with this effort explain."""
        if self.method.effort is None or float(gaps.max()) <= rounding:
            return float(gaps.max()) / rounding
        error = torch.zeros_like(gaps)
        for factor, query in zip(self.axiom.factors(prepared.case), prepared.queries, strict=True):
            path = self.axiom.measured(prepared.case, query.integrand.double().cpu())
            if self.method.sampled:
                # Hoeffding: a mean of n draws is off by more than 3/√n of their range with probability 4e-8.
                switches = self.axiom.measured(prepared.case, query.switches.double().cpu(), 1.0)
                spread = torch.maximum(path.amax((0, 1)) - path.amin((0, 1)), switches)
                error += 3 * factor * spread / math.sqrt(effort)
            else:
                # Koksma: a quadrature is off by the total variation times the discrepancy of its nodes, of order 1/n.
                error += 4 * factor * path.diff(dim=1).abs().sum(1).amax(0) / effort
        return float((gaps / (rounding + error)).max())

    def _confirmed(self, trial: Trial) -> bool:
        """Return whether a violation stays with more effort, where there is more to be had."""
        if self.method.effort is None:
            return True
        again = self.trial(trial.prepared, _MORE * self.effort)
        # The error of a quadrature goes like 1/n; an error that does not is none of the quadrature.
        shrinks = not self.method.sampled and again.comparison.gap <= trial.comparison.gap * 3 / _MORE
        return again.violated and not shrinks

    def _found_with_more_effort(self, trials: list[Trial]) -> Trial | None:
        """Return a violation among the cases whose gaps are the most of what an estimate's error may explain."""
        if self.method.effort is None:
            return None
        suspects = sorted((t for t in trials if t.excess > 1 / _MORE and not t.violated), key=lambda t: -t.excess)
        for suspect in suspects[:_CONFIRMED_AT_MOST]:
            again = self.trial(suspect.prepared, _MORE * self.effort)
            if again.violated and self._confirmed(suspect):
                return again
        return None

    def _in_smaller_functions(self, trial: Trial, source: ZooSource) -> Trial:
        """Return a violation in the smallest function that a few more cases show one in."""
        draw = Random(f"{self.axiom.key} {self.seed} smaller")
        largest = trial.prepared.case.weight[0]
        for subject in source.subjects:
            if subject.size >= largest:
                break
            found = [
                again
                for again in self._violations(self._proposals(ZooSource([subject], source.kind), draw))
                if again.prepared.case.weight[0] < largest
            ]
            for again in sorted(found, key=lambda t: t.prepared.case.weight)[:3]:
                if self._confirmed(again):
                    return again
        return trial

    def _proposals(self, source: ZooSource, draw: Random) -> Iterator[Case]:
        for _ in range(24):
            case = self.axiom.propose(source, draw)
            if case is not None:
                yield case

    def _violations(self, cases: Iterator[Case]) -> Iterator[Trial]:
        for case in cases:
            prepared = prepare(self.axiom, case, guarded=True)
            if prepared is None:
                continue
            try:
                trial = self.trial(prepared, self.effort)
            except RefusalError:
                continue
            if trial.violated:
                yield trial

    def _shrunk(self, trial: Trial) -> Trial:
        """Return a violation with numbers, references and coefficients as small as single moves make them."""
        left = _SHRINKING_TRIALS
        improved = True
        while improved and left > 0:
            improved = False
            for case in smaller_cases(trial.prepared.case):
                left -= 1
                again = next(self._violations(iter([case])), None)
                if again is not None and self._confirmed(again):
                    trial, improved = again, True
                    break
                if left <= 0:
                    break
        return trial

    def _shown(self, trial: Trial) -> Counterexample:
        case, comparison = trial.prepared.case, trial.comparison
        names = "FG" if len(case.subjects) > 1 else "F"
        shown = [f"{name}(x) = {s.formula}" for name, s in zip(names, case.subjects, strict=True)]
        if len(case.subjects) > 1 and case.subjects[0].formula == case.subjects[1].formula:
            shown[1] = "G = F" + (", called again" if not case.numbers else "")
        return Counterexample(
            functions=tuple(shown),
            x=_listed(case.x),
            baselines=tuple(_listed(r) for r in case.references)
            if case.references.numel() <= 4 * _SHOWN and case.x.numel() <= _SHOWN
            else (),
            shape=tuple(case.x.shape),
            quantity=comparison.quantity,
            expected=comparison.expected,
            observed=comparison.observed,
            gap=comparison.gap,
            size=int(case.weight[0]),
        )


def _verdict(trials: list[Trial], failed: bool) -> Verdict:
    if not trials:
        return Verdict.NOT_TRIED
    if failed:
        return Verdict.FAILS
    exact = all(t.comparison.gap <= t.rounding for t in trials)
    return Verdict.HOLDS if exact else Verdict.IN_THE_LIMIT


def _nothing(axiom: Axiom, guarded: bool) -> str:
    where = "these models" if guarded else "this model and these inputs"
    return f"no case on {where} is one that the axiom speaks of"


def _listed(values: Tensor) -> tuple[float, ...]:
    return tuple(float(v) for v in values.flatten()) if values.numel() <= _SHOWN else ()
