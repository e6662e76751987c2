"""Figure 1 of the paper, drawn from new results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._core.estimate import Estimate
from captum_xg._core.figures import method_style, new_figure, wrapped
from captum_xg._core.files import write_figure
from captum_xg.repro.estimate import estimate
from captum_xg.repro.figure import legend_under, marker_of, spelled_out
from captum_xg.repro.sparsity.results import PAPER, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAPER = "#8a8a8a"


def draw(
    path: Path, left: Sequence[Outcome], right: Sequence[Outcome], xgradient: Outcome, *, title: str, paper: bool
) -> None:
    """Write a PNG: test ROC-AUC of the methods, and of Expected Gradients over its references, with 95 % intervals.

    Args:
        path: The file to write.
        left: The methods of the left panel, or none.
        right: Expected Gradients by increasing number of references, or none.
        xgradient: X-Gradient, which the right panel compares with.
        title: What the data are.
        paper: Whether to mark the paper's means, too.
    """
    n_panels = bool(left) + bool(right)
    figure = new_figure(6.4 * n_panels, 4.9)
    axes = list(figure.subplots(1, n_panels, squeeze=False)[0])
    for each in axes:
        each.set_ylabel("mean test ROC-AUC (area under the\nROC curve), 95 % interval")
        each.grid(axis="y", alpha=0.3)
    if left:
        _methods(axes.pop(0), left, paper)
    if right:
        _references(axes.pop(0), right, xgradient, paper)
    figure.suptitle(wrapped(title, 6.4 * n_panels - 0.4, 10), fontsize=10)
    write_figure(path, figure, dpi=130)


def _methods(axes: Axes, outcomes: Sequence[Outcome], paper: bool) -> None:
    for place, each in enumerate(outcomes):
        found = estimate(each.test)
        axes.errorbar(place, found.mean, _reach([found]), **marker_of(each.method), capsize=4)
        if paper and each.method.key in PAPER:
            axes.plot(place, PAPER[each.method.key], "_", color=_PAPER, ms=16, mew=2)
    if paper:
        axes.plot([], [], "_", color=_PAPER, ms=16, mew=2, label="the paper's mean")
        axes.legend(frameon=False, fontsize=9)
    room = 5.3 / max(len(outcomes), 1)
    labels = [
        wrapped(spelled_out(each.method), room, 8) + (f"\nλ = {each.strength:g}" if each.method.has_prior else "")
        for each in outcomes
    ]
    axes.set_xticks(range(len(outcomes)), labels, fontsize=8)
    axes.set_xlabel("attribution that the sparsity prior is on (hollow: without biases)")
    axes.margins(x=0.1)


def _references(axes: Axes, outcomes: Sequence[Outcome], xgradient: Outcome, paper: bool) -> None:
    counts = [each.method.n_references for each in outcomes]
    found = [estimate(each.test) for each in outcomes]
    style, ours = method_style("expected_gradients"), method_style("xgradient")
    label = f"Expected Gradients, λ = {outcomes[0].strength:g}"
    means = [e.mean for e in found]
    axes.errorbar(counts, means, _reach(found), fmt=f"{style.marker}-", color=style.colour, capsize=4, label=label)
    reference = estimate(xgradient.test)
    axes.axhline(reference.mean, color=ours.colour, label=f"X-Gradient, without biases, λ = {xgradient.strength:g}")
    axes.axhspan(reference.low, reference.high, color=ours.colour, alpha=0.15, linewidth=0)
    if paper:
        papers = [PAPER[each.method.key] for each in outcomes]
        axes.plot(counts, papers, "_", color=_PAPER, ms=14, mew=2, label="the paper's Expected Gradients")
        axes.axhline(PAPER["xgradient_nobias"], color=_PAPER, linestyle=":", label="the paper's X-Gradient")
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xlabel("references per example and step")
    legend_under(axes, fontsize=8.5, ncols=2)


def _reach(found: Sequence[Estimate]) -> list[list[float]]:
    return [[each.value - each.low for each in found], [each.high - each.value for each in found]]
