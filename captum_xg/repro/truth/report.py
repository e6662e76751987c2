"""The section on known truth: findings, a table for each network, the picture."""

from __future__ import annotations

from captum_xg._core.estimate import Estimate
from captum_xg.repro.section import Panel, Section, table
from captum_xg.repro.truth.measure import KINDS, Kind
from captum_xg.repro.truth.methods import METHODS
from captum_xg.repro.truth.results import SCORES, Results
from captum_xg.repro.truth.verdict import findings

_NOTES = (
    "What is true: on sums of functions of disjoint groups, linearity, Dummy and Completeness leave each group one "
    "sum; within a group they decide nothing, and nothing is compared there. On images, pixels other than the "
    "pattern's do not change the network anywhere between black and the image.",
    "So these networks tell methods apart that break one of these axioms, and no others: which of two interacting "
    "features is given what, is not judged.",
    "Error: Σ|attribution − truth| / Σ|truth| of one input, over groups; gradient and random have no unit that could "
    "be compared. Correlations are over groups; where all attributions are equal they are 0.",
    "EG from zero is Integrated Gradients with random points (Captum's GradientShap), and exact where gradients are "
    "the same along the ray; EG from references is judged by the truth against the mean over the references, and left "
    "out where that is not known. JointXGradient answers another question, with biases as further inputs: its inputs' "
    "part is input × gradient.",
)


def report(
    results: Results, setting: str, command: str, picture: str, seconds: float, commits: tuple[str, ...]
) -> Section:
    """Return the section."""
    drawn = Panel(
        "Mean error by network and method, with 95 % intervals over inputs; below 1e-9 is rounding",
        picture=picture,
        description="A panel for each network, with a point for each method on a logarithmic axis of errors",
    )
    return Section(
        "truth",
        "Networks whose true attribution is known",
        setting,
        findings(results),
        (drawn, *(_table(results, kind) for kind in KINDS)),
        _NOTES,
        command,
        seconds,
        commits,
        {kind.key: _numbers(results, kind) for kind in KINDS},
    )


def _table(results: Results, kind: Kind) -> Panel:
    shown = [score for score in SCORES if score != "share" or kind.has_region]
    rows = [["method", *(SCORES[score] for score in shown)]]
    for method in METHODS:
        if results.refused(kind, method):
            rows.append([method.label, "refuses", *("–" for _ in shown[1:])])
        elif results.each(kind, method, "pearson"):
            rows.append([method.label, *(_cell(results.mean(kind, method, score), score) for score in shown)])
    return table(f"{kind.title} ({results.networks(kind)} networks)", rows)


def _cell(found: Estimate | None, score: str) -> str:
    if found is None:
        return "–"
    if score == "error" and found.high < 1e-9:
        return f"{found.value:.0e}"
    return found.formatted(".3f")


def _numbers(results: Results, kind: Kind) -> dict[str, object]:
    numbers: dict[str, object] = {}
    for method in METHODS:
        means = {score: results.mean(kind, method, score) for score in SCORES}
        numbers[method.key] = {s: [e.value, e.low, e.high] for s, e in means.items() if e is not None}
    return numbers
