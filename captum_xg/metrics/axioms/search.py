"""One method against one axiom: trying it on cases, making sure of a violation, and its smallest counterexample.

What must never happen: that the error of an estimate, or its luck, passes for a violation, or a violation for an error.
Where a method estimates with n nodes or samples, a gap counts only if it exceeds what n explain (``Query.error``), and
stays so with 8·n. Integrated Gradients of ``relu(x0 − 1)`` from 0 to 2 with 32 nodes is off by 1/32: within 4·V/32, so
completeness holds "in the limit". Twice Integrated Gradients is off by 1, whatever n is.

Cases are drawn beforehand and the same for every method, each function in its turn. Only the counterexample comes from
hypothesis, which draws further cases of the same kind until one is violated, and makes that one small.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import torch

from captum_xg._core.seeding import example_seed
from captum_xg.metrics.axioms.cases import Case, Comparison, Query
from captum_xg.metrics.axioms.methods import Method, RefusalError
from captum_xg.metrics.axioms.results import AxiomResult, Counterexample, Verdict
from captum_xg.metrics.axioms.sources import ShrinkingSource, Source, ZooSource
from captum_xg.metrics.axioms.statements import Axiom

_MORE = 8
"""How much more effort a doubted case gets."""
_CONFIRMED_AT_MOST = 12
_TRIALS = 60
"""Cases that hypothesis draws in search of a violation, before it begins to shrink one."""
_SHOWN = 16
"""Numbers of an input that are written out."""


class Prepared(NamedTuple):
    """A case with its queries, whose outputs and gradients are computed once for all methods."""

    case: Case
    queries: tuple[Query, ...]


@dataclass(frozen=True)
class Trial:
    """A case with what came of it.

    Attributes:
        case: The case.
        comparison: What was expected and observed.
        rounding: The largest gap that counts as rounding.
        excess: The largest gap relative to what rounding and the error of an estimate explain: above 1, or NaN, it is
            a violation.
    """

    case: Case
    comparison: Comparison
    rounding: float
    excess: float

    @property
    def violated(self) -> bool:
        """Whether a gap is larger than what rounding and the error of an estimate explain."""
        return not self.excess <= 1


def prepare(axiom: Axiom, case: Case | None, *, guarded: bool) -> Prepared | None:
    """Return the case with its queries, None if the axiom does not apply to it."""
    if case is None:
        return None
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
        if (prepared := prepare(axiom, axiom.propose(source, draw), guarded=guarded)) is not None:
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
        self.method, self.axiom, self.effort, self.seed = method, axiom, effort, seed

    def run(self, cases: list[Prepared], source: Source, models: str) -> AxiomResult:
        """Return the verdict over all cases, with a small counterexample if there is one."""
        trials, refusals = [], []
        for prepared in cases:
            try:
                trials.append((self.trial(prepared, self.effort), prepared))
            except RefusalError as refusal:
                refusals.append(str(refusal))
        # What is almost explained may stand out with more effort.
        suspects = sorted((t for t in trials if not t[0].excess <= 1 / _MORE), key=lambda t: -t[0].excess)
        violations = (self._confirmed(*suspect) for suspect in suspects[:_CONFIRMED_AT_MOST])
        confirmed = next((trial for trial in violations if trial is not None), None)
        if confirmed is not None and isinstance(source, ZooSource):
            confirmed = self._smallest(source) or confirmed
        gaps = [trial.comparison.gap for trial, _ in trials]
        exact = all(trial.comparison.gap <= trial.rounding for trial, _ in trials)
        verdict = Verdict.FAILS if confirmed is not None else Verdict.HOLDS if exact else Verdict.IN_THE_LIMIT
        where = "these models" if isinstance(source, ZooSource) else "this model and these inputs"
        nothing = f"no case on {where} is one that the axiom speaks of"
        return AxiomResult(
            axiom=self.axiom.key,
            title=self.axiom.title,
            statement=self.axiom.statement,
            method=self.method.name,
            models=models,
            verdict=verdict if trials else Verdict.NOT_TRIED,
            cases=len(trials),
            violations=max(sum(trial.violated for trial, _ in trials), 1) if confirmed is not None else 0,
            undefined=len(refusals),
            reason=refusals[0] if refusals else "" if cases else nothing,
            largest_gap=max(gaps, default=0.0),
            effort=f"{self.method.effort}={self.effort}" if self.method.effort else "",
            counterexample=None if confirmed is None else _shown(confirmed),
        )

    def trial(self, prepared: Prepared, effort: int) -> Trial:
        """Attribute and compare.

        Raises:
            RefusalError: Where the method refuses.
        """
        case, queries = prepared
        # Draws belong to the case, so that it comes out the same whenever it is tried, and differ between its queries.
        seed = example_seed((case.x, case.references), self.seed) // 2 + effort
        attributions = tuple(self.method.attribute(q, effort, seed + k * 7919) for k, q in enumerate(queries))
        comparison = self.axiom.compare(case, queries, attributions)
        eps = torch.finfo(case.x.dtype).eps
        sizes = [a.abs().nan_to_num(0.0, 0.0) for a in attributions]
        scale = sum(q.weight * float(max(a.max(), a.sum())) for q, a in zip(queries, sizes, strict=True))
        # Captum's step sizes are float32 whatever the input is.
        rounding = max(1e-6, math.sqrt(eps)) * scale + 64 * eps * max(*(q.level for q in queries), 1e-9)
        allowed = torch.tensor([rounding], dtype=torch.float64)
        if self.method.effort is not None and comparison.gap > rounding:
            errors = [q.weight * q.error(effort, sampled=self.method.sampled) for q in queries]
            allowed = rounding + comparison.concerned(torch.stack(errors).sum(0), case.features)
        return Trial(case, comparison, rounding, float((comparison.gaps / allowed).max()))

    def _confirmed(self, trial: Trial, prepared: Prepared) -> Trial | None:
        """Return a violation that stays with more effort, where the method takes more."""
        if self.method.effort is None:
            return trial if trial.violated else None
        again = self.trial(prepared, _MORE * self.effort)
        # The error of a quadrature goes like 1/n; one that does not is not the quadrature's.
        shrinks = not self.method.sampled and again.comparison.gap < trial.comparison.gap * 3 / _MORE
        return (trial if trial.violated else again) if again.violated and not shrinks else None

    def _smallest(self, source: ZooSource) -> Trial | None:
        """Return a violation in a small function with small numbers, None if no further case shows one."""
        import hypothesis
        from hypothesis import errors, strategies

        found: list[Trial] = []
        settings = hypothesis.settings(  # all that matters, for the user's own profile may say otherwise
            max_examples=_TRIALS,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
            derandomize=True,
            database=None,
            deadline=None,
            verbosity=hypothesis.Verbosity.quiet,
        )
        # Among few small functions a violation is found in a small one; shrinking seldom leads from a large one there.
        for count in (6, 14, len(source.subjects)):
            drawn = ShrinkingSource(source.subjects[:count], source.kind)

            def violated(draw: Random, drawn: ShrinkingSource = drawn) -> bool:
                found[:] = [trial] if (trial := self._violation(drawn, draw)) is not None else found
                return trial is not None

            with _without_files():
                try:  # the last violation that hypothesis shows is the smallest
                    hypothesis.find(strategies.randoms(), violated, settings=settings, random=Random(self.seed))
                except errors.HypothesisException:
                    continue  # none here, or a method that is random in a way that no seed decides
            return found[0]
        return None

    def _violation(self, source: ZooSource, draw: Random) -> Trial | None:
        """Return what came of one more case if it violates the axiom."""
        prepared = prepare(self.axiom, self.axiom.propose(source, draw), guarded=True)
        # Where nothing differs there is nothing to distribute: a violation all the same, but a dull one.
        if prepared is None or not bool((prepared.case.x != prepared.case.references).any()):
            return None
        try:
            trial = self.trial(prepared, self.effort)
            return None if trial.excess <= 1 / _MORE else self._confirmed(trial, prepared)
        except RefusalError:
            return None


@contextmanager
def _without_files() -> Iterator[None]:
    """Keep hypothesis from writing what it notes of the user's source files into the working directory."""
    from hypothesis import configuration

    name = "__hypothesis_home_directory"
    before = getattr(configuration, name, None)
    configuration.set_hypothesis_home_dir(os.devnull)
    try:
        yield
    finally:
        configuration.set_hypothesis_home_dir(before)


def _shown(trial: Trial) -> Counterexample:
    case, comparison = trial.case, trial.comparison
    shown = [f"{name}(x) = {subject.formula}" for name, subject in zip("FG", case.subjects, strict=False)]
    if len(case.subjects) > 1 and case.subjects[0].formula == case.subjects[1].formula:
        shown[1] = "G = F" + ("" if case.numbers else ", called again")
    small = case.x.numel() <= _SHOWN and case.references.numel() <= 4 * _SHOWN
    return Counterexample(
        functions=tuple(shown),
        x=tuple(case.x.flatten().tolist()) if case.x.numel() <= _SHOWN else (),
        baselines=tuple(tuple(reference.flatten().tolist()) for reference in case.references) if small else (),
        shape=tuple(case.x.shape),
        quantity=comparison.quantity,
        expected=comparison.expected,
        observed=comparison.observed,
        gap=comparison.gap,
        size=case.size,
    )
