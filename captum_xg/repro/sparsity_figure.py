"""Figure 1 of the paper, drawn from new results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._files import write_figure
from captum_xg.repro.estimate import estimate
from captum_xg.repro.sparsity_results import PAPER, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OURS, _OTHERS, _PAPER = "#2c6fbb", "#d9822b", "#8a8a8a"


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
    # Not through pyplot, whose state and backend belong to the caller.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_panels = bool(left) + bool(right)
    figure = Figure(figsize=(5.6 * n_panels, 4.2), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, n_panels, squeeze=False)[0])
    if left:
        _methods(axes.pop(0), left, paper)
    if right:
        _references(axes.pop(0), right, xgradient, paper)
    figure.suptitle(title, fontsize=10)
    write_figure(path, figure, dpi=150)


def _methods(axes: Axes, outcomes: Sequence[Outcome], paper: bool) -> None:
    for place, each in enumerate(outcomes):
        found = estimate(each.test)
        colour = _OURS if each.method.attribution == "xgradient" else _OTHERS
        reach = [[found.mean - found.low], [found.high - found.mean]]
        axes.errorbar(place, found.mean, reach, fmt="o", color=colour, capsize=4)
        if paper and each.method.key in PAPER:
            axes.plot(place, PAPER[each.method.key], "x", color=_PAPER)
    if paper:
        axes.plot([], [], "x", color=_PAPER, label="paper")
        axes.legend(frameon=False)
    labels = [
        each.method.label.replace(" w/o", "\nw/o")
        + ("" if each.method.attribution == "none" else f"\nλ = {each.strength:g}")
        for each in outcomes
    ]
    axes.set_xticks(range(len(outcomes)), labels, fontsize=8)
    axes.margins(x=0.1)
    axes.set_ylabel("mean test ROC-AUC, 95 % interval")
    axes.grid(axis="y", alpha=0.3)


def _references(axes: Axes, outcomes: Sequence[Outcome], xgradient: Outcome, paper: bool) -> None:
    counts = [each.method.n_references for each in outcomes]
    found = [estimate(each.test) for each in outcomes]
    reach = [[e.mean - e.low for e in found], [e.high - e.mean for e in found]]
    label = f"Expected Gradients, λ = {outcomes[0].strength:g}"
    axes.errorbar(counts, [e.mean for e in found], reach, fmt="o-", color=_OTHERS, capsize=4, label=label)
    ours = estimate(xgradient.test)
    axes.axhline(ours.mean, color=_OURS, label=f"X-Gradient without biases, λ = {xgradient.strength:g}")
    axes.axhspan(ours.low, ours.high, color=_OURS, alpha=0.15, linewidth=0)
    if paper:
        axes.plot(counts, [PAPER[each.method.key] for each in outcomes], "x", color=_PAPER, label="paper, EG")
        axes.axhline(PAPER["xgradient_nobias"], color=_PAPER, linestyle=":", label="paper, X-Gradient")
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xlabel("references per example and step")
    axes.set_ylabel("mean test ROC-AUC, 95 % interval")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(axis="y", alpha=0.3)
