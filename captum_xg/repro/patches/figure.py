"""The picture of the experiment on patches: accuracies, and the error of Integrated Gradients by steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._core.figures import method_style, new_figure, plain_log_ticks
from captum_xg._core.files import write_figure
from captum_xg.repro.patches.networks import COMPARED, SHORT, VARIANTS, X
from captum_xg.repro.patches.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(path: Path, results: Results) -> None:
    """Write a PNG."""
    figure = new_figure(10.5, 3.9)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    _accuracies(left, results)
    _errors(right, results)
    write_figure(path, figure, dpi=100)


def _accuracies(axes: Axes, results: Results) -> None:
    labels = []
    for row, network in enumerate(COMPARED):
        found = results.accuracy(network)
        colour = method_style("x gradient" if network is X else "integrated gradients").colour
        each = [100 * training["test_accuracy"] for training in results.trainings(network)]
        axes.plot(each, [row] * len(each), "o", color=colour, alpha=0.6, ms=6)
        axes.errorbar(found.value, row + 0.25, xerr=found.standard_error, color=colour, marker="|", capsize=3)
        labels.append(f"{network.label.partition(',')[0]} ({results.trainings(network)[0]['epochs']})")
    for row, network in enumerate(VARIANTS, len(COMPARED)):
        trainings = results.trainings(network)
        colour = "#333333" if network is SHORT else "#777777"
        each = [100 * training["test_accuracy"] for training in trainings if training["finite"]]
        axes.plot(each, [row] * len(each), "D" if network is SHORT else "s", color=colour, alpha=0.6, ms=5)
        labels.append(f"{network.label} ({trainings[0]['epochs']})")
    axes.axhline(len(COMPARED) - 0.4, color="#b0b0b0", lw=0.8)
    if results.finite(SHORT):
        axes.axvline(results.accuracy(SHORT).value, color="#b0b0b0", lw=0.8, ls=":")
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.25)
    axes.set_xlabel("test accuracy in % (after so many epochs)", fontsize=9)


def _errors(axes: Axes, results: Results) -> None:
    found = results.median_errors()
    style = method_style("integrated gradients")
    steps = list(found)
    axes.loglog(
        steps, [100 * found[n][0] for n in steps], color=style.colour, marker="s", ms=4, label="vit_small, median"
    )
    axes.loglog(
        steps, [100 * found[n][1] for n in steps], color=style.colour, ls="--", label="vit_small, 95 % of the images"
    )
    axes.axhline(1, color="#b0b0b0", lw=0.8)
    axes.plot(1, 1e-5, "o", color=method_style("x gradient").colour, clip_on=False, label="xvit_small: exact with one")
    axes.set_ylim(1e-5, None)
    plain_log_ticks(axes.xaxis)
    axes.set_xlabel("steps of Integrated Gradients", fontsize=9)
    axes.set_ylabel("error in % of the integral", fontsize=9)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
