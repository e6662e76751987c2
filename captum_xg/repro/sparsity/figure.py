"""Figure 1 of the paper, drawn from new results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._core.figures import method_style, new_figure, wrapped
from captum_xg._core.files import write_figure
from captum_xg.repro.estimate import estimate
from captum_xg.repro.sparsity.protocol import Method
from captum_xg.repro.sparsity.results import PAPER, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAPER = "#8a8a8a"
_VALUE = "mean test ROC-AUC (area under the\nROC curve), 95 % interval"
_ATTRIBUTIONS = {
    "none": "no prior",
    "rrr": "Right for the Right Reasons",
    "gradient": "gradient",
    "expected_gradients": "Expected Gradients",
    "xgradient": "X-Gradient",
}


def spelled_out(method: Method) -> str:
    """Return what the Gini prior of a method is on, without abbreviations."""
    n = method.n_references
    references = f", {n}\N{NO-BREAK SPACE}reference{'s' * (n != 1)}" if n else ""
    return f"{_ATTRIBUTIONS[method.attribution]}{references}{'' if method.bias else ', without biases'}"


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
    if left:
        _methods(axes.pop(0), left, paper)
    if right:
        _references(axes.pop(0), right, xgradient, paper)
    figure.suptitle(wrapped(title, 6.4 * n_panels - 0.4, 10), fontsize=10)
    write_figure(path, figure, dpi=130)


def _methods(axes: Axes, outcomes: Sequence[Outcome], paper: bool) -> None:
    for place, each in enumerate(outcomes):
        found, style = estimate(each.test), method_style(each.method.attribution)
        reach = [[found.mean - found.low], [found.high - found.mean]]
        face = style.colour if each.method.bias else "white"
        axes.errorbar(place, found.mean, reach, fmt=style.marker, mfc=face, color=style.colour, capsize=4)
        if paper and each.method.key in PAPER:
            axes.plot(place, PAPER[each.method.key], "_", color=_PAPER, ms=16, mew=2)
    if paper:
        axes.plot([], [], "_", color=_PAPER, ms=16, mew=2, label="the paper's mean")
        axes.legend(frameon=False, fontsize=9)
    room = 5.3 / max(len(outcomes), 1)
    labels = [
        wrapped(spelled_out(each.method), room, 8)
        + ("" if each.method.attribution == "none" else f"\nλ = {each.strength:g}")
        for each in outcomes
    ]
    axes.set_xticks(range(len(outcomes)), labels, fontsize=8)
    axes.set_xlabel("attribution that the sparsity prior is on (hollow: without biases)")
    axes.margins(x=0.1)
    axes.set_ylabel(_VALUE)
    axes.grid(axis="y", alpha=0.3)


def _references(axes: Axes, outcomes: Sequence[Outcome], xgradient: Outcome, paper: bool) -> None:
    counts = [each.method.n_references for each in outcomes]
    found = [estimate(each.test) for each in outcomes]
    reach = [[e.mean - e.low for e in found], [e.high - e.mean for e in found]]
    style, ours = method_style("expected_gradients"), method_style("xgradient")
    label = f"Expected Gradients, λ = {outcomes[0].strength:g}"
    means = [e.mean for e in found]
    axes.errorbar(counts, means, reach, fmt=f"{style.marker}-", color=style.colour, capsize=4, label=label)
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
    axes.set_ylabel(_VALUE)
    axes.legend(frameon=False, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
    axes.grid(axis="y", alpha=0.3)
