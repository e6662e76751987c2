"""Verdicts on what the paper says about Figure 1, from the outcomes of this run."""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg._core.estimate import Estimate
from captum_xg.repro.estimate import difference, estimate
from captum_xg.repro.section import Claim, Finding
from captum_xg.repro.sparsity import claims
from captum_xg.repro.sparsity.protocol import UNREGULARISED, UNREGULARISED_WITHOUT_BIAS, X_GRADIENT
from captum_xg.repro.sparsity.results import PAPER, PAPER_STRENGTHS, Outcome
from captum_xg.repro.verdicts import above, not_comparable, printed_number, within

NO_EFFECT = 0.01
"""A mean ROC-AUC that biases change by less is almost the same; the paper's differ by 0.002."""
SAME_MEAN = 0.005
"""Means that differ by less are the same: twice the standard error of the paper's."""
_LEFT_ONLY = "it is of the right panel: give --panel both"
_NEEDS_32 = "it needs 32 references: give --panel both --preset full"


def findings(left: Sequence[Outcome], right: Sequence[Outcome], *, papers: bool) -> tuple[Finding, ...]:
    """Return one finding for each claim.

    Args:
        left: Outcomes of the left panel, or those of it that were run.
        right: Expected Gradients by increasing number of references; empty if that was not run.
        papers: Whether the data are the paper's.
    """
    found = {each.method.key: each for each in (*left, *right)}
    ours = found[X_GRADIENT.key]
    beats = [
        _difference(claim, ours, found.get(key), f"XG − {key if key != 'eg1' else 'EG(1)'}")
        for key, claim in claims.BEATS.items()
    ]
    without, with_biases = (found.get(m.key) for m in (UNREGULARISED_WITHOUT_BIAS, UNREGULARISED))
    if with_biases is None or without is None:
        bias = _not_run(claims.BIAS, "it is of the left panel: give --panel both")
    else:
        change = difference(without.test, with_biases.test)
        bias = within(claims.BIAS, change, NO_EFFECT, "ROC-AUC without biases − with", ".4f")
    return (*beats, bias, *_references(ours, right), *_strengths(found, papers), *_means(found, papers))


def _difference(claim: Claim, ours: Outcome, rival: Outcome | None, what: str) -> Finding:
    if rival is None:
        return _not_run(claim, "it is of the left panel: give --panel both")
    return above(claim, difference(ours.test, rival.test), 0.0, what, ".4f")


def _references(ours: Outcome, right: Sequence[Outcome]) -> tuple[Finding, ...]:
    if len(right) < 2:
        return tuple(_not_run(claim, _LEFT_ONLY) for claim in (claims.MATCH, claims.MORE, claims.SAMPLES))
    by_count = {each.method.n_references: each for each in right}
    most = max(by_count)
    growth = difference(by_count[most].test, by_count[min(by_count)].test)
    what = f"EG({most}) − EG({min(by_count)})"
    samples = above(claims.SAMPLES, growth, 0.0, what, ".4f")
    if most < 32:
        needs = "it needs 32 references or more: give --preset full"
        return _not_run(claims.MATCH, needs), _not_run(claims.MORE, needs), samples
    beyond = [by_count[k].test for k in by_count if k > 32]
    if beyond:
        mean = [sum(values) / len(values) for values in zip(*beyond, strict=True)]
        more = above(claims.MORE, difference(mean, ours.test), 0.0, "EG(> 32) − XG", ".4f")
    else:
        more = _not_run(claims.MORE, "it needs more than 32 references: give --preset full")
    return _match(ours, by_count), more, samples


def _match(ours: Outcome, by_count: dict[int, Outcome]) -> Finding:
    """Return whether 16 references are surely worse than X-Gradient and 32 not surely worse."""
    fewer, enough = (difference(by_count[k].test, ours.test) for k in (16, 32))
    text = f"EG(16) − XG: {fewer.signed()}; EG(32) − XG: {enough.signed()}"
    holds = fewer.high < 0 <= enough.high
    rule = "confirmed if EG(16) is surely below X-Gradient and EG(32) is not"
    return Finding(claims.MATCH, text, "confirmed" if holds else "not confirmed", rule)


def _strengths(found: dict[str, Outcome], papers: bool) -> list[Finding]:
    results = []
    for key, claim in claims.STRENGTHS.items():
        if key not in found:
            results.append(_not_run(claim, "it is of the left panel: give --panel both"))
        elif not papers:
            results.append(not_comparable(claim, f"λ = {found[key].strength:g}", "these are not the paper's data"))
        else:
            same = found[key].strength == PAPER_STRENGTHS[key]
            why = "λ with the best mean validation ROC-AUC, of a grid with more small ones than the paper's"
            results.append(
                Finding(claim, f"λ = {found[key].strength:g}", "confirmed" if same else "not confirmed", why)
            )
    return results


def _means(found: dict[str, Outcome], papers: bool) -> list[Finding]:
    comparable = "" if papers else "these are not the paper's data"
    return [
        _not_run(claim, _NEEDS_32 if key == "eg32" else "it is of the left panel: give --panel both")
        if key not in found
        else printed_number(claim, _plain(found[key]), PAPER[key], SAME_MEAN, "mean", comparable=comparable)
        for key, claim in claims.MEANS.items()
    ]


def _plain(outcome: Outcome) -> Estimate:
    return estimate(outcome.test)


def _not_run(claim: Claim, why: str) -> Finding:
    return Finding(claim, "–", "not run", why)
