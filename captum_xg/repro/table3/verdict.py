"""The verdicts on Table 3: by paired intervals with the paper's mask; what other masks say stands beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from captum_xg._core.estimate import Estimate
from captum_xg.repro.section import Claim, Finding
from captum_xg.repro.table3 import claims
from captum_xg.repro.table3.maskings import PAPER, RELEASED
from captum_xg.repro.table3.ordering import AllScores, Comparison, Fate, fates, of_the_table
from captum_xg.repro.table3.printed import IG, METHODS, METRICS, XG, printed
from captum_xg.repro.table3.scores import Scores

CLOSE = 0.01
"""On par: a difference below this share of the range of all methods in the column."""
TOLERANCE = 0.02
"""Of a printed number, relative, beyond our interval."""
_LISTED = 4


def findings(scores: AllScores, maskings: Collection[str], not_the_papers: str) -> list[Finding]:
    """Return the verdicts on all claims.

    Args:
        scores: Of both networks.
        maskings: Their keys.
        not_the_papers: Why printed numbers cannot be compared; empty if they can.
    """
    regular, xdnn = scores[claims.REGULAR], scores[claims.XDNN]
    return [
        on_par(claims.ON_PAR, xdnn, maskings),
        cost(claims.COST, xdnn),
        refuses(claims.REFUSES, regular, xdnn),
        *(statement(claim, told, scores, maskings) for claim, told in claims.STATEMENTS.items()),
        statement(claims.ORDER, of_the_table(), scores, maskings),
        *(numbers(claim, scores[network], method, not_the_papers) for (network, method), claim in claims.ROWS.items()),
    ]


def statement(claim: Claim, told: list[Comparison], scores: AllScores, maskings: Collection[str]) -> Finding:
    """Return the verdict on a claim that some methods are better than others."""
    found = {masking: fates(told, scores, masking) for masking in maskings}
    paper = found[PAPER]
    n = sum(map(len, paper.values()))
    others = ", ".join(f"{masking} {len(each['holds'])}" for masking, each in found.items() if masking != PAPER)
    ours = f"{len(paper['holds'])} of {n} comparisons hold with the paper's mask (with others: {others})"
    rule = "a comparison holds if the interval of the paired difference excludes 0 on that side"
    if n and len(paper["holds"]) == n:
        return Finding(claim, ours, "confirmed", f"all of them hold; {rule}")
    parts = [f"{name}: {_listed(paper[fate])}" for fate, name in _SAID.items() if paper[fate]]
    return Finding(claim, ours, "not confirmed", f"{'; '.join(parts)}; {rule}")


_SAID: dict[Fate, str] = {"reversed": "the other way round", "open": "not decided"}


def on_par(claim: Claim, xdnn: Scores, maskings: Collection[str]) -> Finding:
    """Return whether X-Gradient and Integrated Gradients score the same, up to a small share of what methods span."""
    if not xdnn.has(XG):
        return Finding(claim, "X-Gradient refused", "not confirmed", xdnn.refusal(XG))
    worst = {masking: max(_apart(xdnn, masking, metric) for metric in METRICS) for masking in maskings}
    shown = ", ".join(f"{masking} {100 * share:.2g} %" for masking, share in worst.items())
    ours = f"the farthest end of an interval of XG − IG, of the range of methods in its column: {shown}"
    same = worst[PAPER] < CLOSE
    rule = f"with the paper's mask it must be below {CLOSE:.0%} for each of the four metrics"
    return Finding(claim, ours, "confirmed" if same else "not confirmed", rule)


def _apart(scores: Scores, masking: str, metric: str) -> float:
    """Return the largest difference that the interval of XG − IG has, as a share of the range of all methods."""
    values = [scores.value(masking, metric, method).value for method in METHODS if scores.has(method)]
    difference = scores.advantage(masking, metric, XG, IG)
    ends = [abs(end) for end in (difference.value, difference.low, difference.high)]
    span = max(values) - min(values)
    return max(ends) / span if span else float("inf" if max(ends) else 0)


def cost(claim: Claim, xdnn: Scores) -> Finding:
    """Return whether X-Gradient takes a hundredth of the gradient evaluations, as they were counted."""
    if not xdnn.has(XG):
        return Finding(claim, "X-Gradient refused", "not confirmed", xdnn.refusal(XG))
    ours, theirs = xdnn.evaluations(XG), xdnn.evaluations(IG)
    ratio = xdnn.seconds(IG) / xdnn.seconds(XG)
    shown = f"{theirs:g} gradient evaluations per image against {ours:g}, as counted; {ratio:.0f} × the time"
    why = "evaluations must differ by a factor of 100; time on this machine includes checks of homogeneity"
    return Finding(claim, shown, "confirmed" if theirs >= 100 * ours else "not confirmed", why)


def refuses(claim: Claim, regular: Scores, xdnn: Scores) -> Finding:
    """Return whether X-Gradient refused the regular network, and that one alone."""
    right = not regular.has(XG) and xdnn.has(XG)
    said = regular.refusal(XG).partition("\n")[0] or "attributions"
    there = "attributions" if xdnn.has(XG) else "refused"
    ours = f"{xdnn.network}: {there}; {regular.network}: {said.rstrip('.')}"
    return Finding(claim, ours, "confirmed" if right else "not confirmed", "it must refuse the first network alone")


def numbers(claim: Claim, scores: Scores, method: str, not_the_papers: str) -> Finding:
    """Return whether a printed row came out again, in the protocol that it was made with."""
    if not scores.has(method):
        return Finding(claim, "refused", "not confirmed", scores.refusal(method))
    found = {metric: scores.value(RELEASED, metric, method) for metric in METRICS}
    ours = ", ".join(f"{metric} {each.formatted('.2f')}" for metric, each in found.items())
    if not_the_papers:
        return Finding(claim, ours, "not comparable", not_the_papers)
    off = [m for m, number in printed(scores.network, method).items() if not _agree(found[m], number)]
    rule = f"printed numbers must lie within {TOLERANCE:.0%} of our intervals, in the released protocol"
    if off:
        return Finding(claim, ours, "not confirmed", f"{', '.join(off)} differ; {rule}")
    return Finding(claim, ours, "confirmed", rule)


def _agree(found: Estimate, number: float) -> bool:
    room = TOLERANCE * abs(number)
    ends = (found.value, found.low, found.high)
    return min(ends) - room <= number <= max(ends) + room


def _listed(comparisons: Iterable[Comparison]) -> str:
    told = [str(each) for each in comparisons]
    more = f" and {len(told) - _LISTED} more" if len(told) > _LISTED else ""
    return ", ".join(told[:_LISTED]) + more
