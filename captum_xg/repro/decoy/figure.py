"""Pictures of the decoy experiment: accuracies with intervals, and attributions with and without a prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from captum_xg._core.figures import (
    RIGHT,
    SPEAKS,
    WRONG,
    colour_bar,
    new_figure,
    outline,
    scale_of,
    show_attributions,
    show_image,
    wrapped,
)
from captum_xg._core.files import write_figure
from captum_xg.datasets.fashion_mnist import CLASSES, first_of_each_class
from captum_xg.repro import figure as shared
from captum_xg.repro.decoy.protocol import CLEAN, CLEAN_XDNN, Labelled, Method, without_prior
from captum_xg.repro.decoy.report import Outcomes
from captum_xg.repro.decoy.results import Outcome
from captum_xg.repro.decoy.training import explain
from captum_xg.repro.estimate import estimate
from captum_xg.repro.figure import legend_under, marker_of, without_biases

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spelled_out(method: Method) -> str:
    """Return what a method is, without abbreviations that a reader has not met."""
    return f"clean images{without_biases(method)}" if method.clean else shared.spelled_out(method)


def draw_accuracies(path: Path, outcomes: Outcomes, title: str) -> None:
    """Write a PNG: test accuracies with 95 % intervals and what a step costs, and what choosing λ looked like."""
    figure = new_figure(17.5, 6.2)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    _accuracies(left, outcomes)
    tried = [outcome for outcome in outcomes.values() if outcome.grid]
    right.sharey(middle)
    _choice(middle, tried, "validation", "random decoys: what λ is chosen on")
    _choice(right, tried, "confounded", "decoys as in training: cannot choose λ")
    figure.suptitle(wrapped(title, 16.5, 13), fontsize=13)
    write_figure(path, figure, dpi=110)


def _accuracies(axes: Axes, outcomes: Outcomes) -> None:
    rows = list(outcomes.values())
    for row, outcome in enumerate(rows):
        found, style = estimate(outcome.values("test")), marker_of(outcome.method)
        axes.errorbar(100 * found.mean, row, xerr=100 * found.reach, **style, capsize=4, markersize=7, lw=1.6)
        each = 100 * np.array(outcome.values("test"))
        axes.plot(each, [row + 0.25] * found.n, "|", color=style["color"], alpha=0.7, ms=6)
        if outcome.method.has_prior:
            ratio = outcome.seconds / outcomes[without_prior(outcome.method)].seconds
            axes.text(1.03, row, f"{ratio:.1f} ×", transform=axes.get_yaxis_transform(), va="center")
    axes.text(1.03, -0.75, "step time,\n× no prior", transform=axes.get_yaxis_transform(), va="bottom", fontsize=9)
    for method, line in ((CLEAN, ":"), (CLEAN_XDNN, "--")):
        label = f"mean of {spelled_out(method)}"
        mean = 100 * estimate(outcomes[method].values("test")).mean
        axes.axvline(mean, color="#555555", lw=0.9, ls=line, zorder=0, label=label)
    labels = [wrapped(spelled_out(outcome.method), 2.0, 9.5) for outcome in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=9.5)
    axes.set_ylabel("trained with")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("test accuracy in %: mean, 95 % interval, and below it each seed\n(hollow: without biases)")
    legend_under(axes, fontsize=8.5)
    axes.grid(axis="x", alpha=0.25)


def _choice(axes: Axes, outcomes: Sequence[Outcome], score: str, title: str) -> None:
    for outcome in outcomes:
        means = {
            weight: sum(run.scores[score] for run in runs if run.scores) / len(runs)
            for weight, runs in sorted(outcome.grid.items())
            if all(run.scores for run in runs)
        }
        style = marker_of(outcome.method)
        percent = [100 * mean for mean in means.values()]
        axes.plot(list(means), percent, lw=1.4, ms=5, **style, label=spelled_out(outcome.method))
        if score == "validation":
            axes.plot(outcome.weight, 100 * means[outcome.weight], "o", ms=13, mfc="none", color=style["color"])
    if score == "validation":
        axes.plot([], [], "o", ms=13, mfc="none", color="#555555", label="chosen")
    axes.set_xscale("log")
    axes.set_xlabel("λ, the weight of the prior")
    axes.set_ylabel("validation accuracy in %")
    axes.set_title(title, fontsize=10.5)
    legend_under(axes, fontsize=8.5)
    axes.grid(alpha=0.25)


def draw_examples(path: Path, models: Mapping[Method, nn.Module], data: Labelled, rows: int = 6) -> None:
    """Write a PNG with one row per test image: what each network takes as evidence for the class that it is.

    Red pixels speak for the class, blue ones against it; each panel has its own scale. Below it, what the network says.
    Models and images are on the CPU; the first image of each class is shown.
    """
    chosen = first_of_each_class(data.labels)[:rows]
    images, labels, patch = (part[chosen] for part in data)
    width = 1.62 * (len(models) + 1) + 0.3
    figure = new_figure(max(width, 5.5), 1.85 * len(chosen) + 2.3)
    grid = figure.subplots(len(chosen), len(models) + 1, squeeze=False)
    for row, label in enumerate(labels.tolist()):
        axes = grid[row][0]
        show_image(axes, images[row, 0])
        axes.set_ylabel(CLASSES[label], fontsize=10)
        axes.set_xlabel(" ", fontsize=8.5)
    for column, (method, model) in enumerate(models.items(), start=1):
        found, said = explain(model, images, labels), model(images).argmax(1)
        for row in range(len(chosen)):
            axes, values = grid[row][column], found[row, 0].numpy()
            drawn = show_attributions(axes, values, scale_of(values))
            colour = RIGHT if said[row] == labels[row] else WRONG
            axes.set_xlabel(CLASSES[int(said[row])], fontsize=8.5, labelpad=2, color=colour)
            for spine in axes.spines.values():
                spine.set_color(colour)
        grid[0][column].set_title(wrapped(spelled_out(method), 1.45, 9), fontsize=9)
    grid[0][0].set_title("test image", fontsize=9)
    for row, frames in enumerate(grid):
        for axes in frames:
            outline(axes, patch[row, 0])
    if models:
        label = f"attribution, as a share of the largest in its panel\n({SPEAKS})"
        colour_bar(figure, drawn, grid, label)
    title = (
        "Integrated Gradients of the true class, after training with decoys (framed). "
        "Below: what the network says (green: right)"
    )
    figure.suptitle(wrapped(title, figure.get_size_inches()[0] - 0.3, 11.5), fontsize=11.5)
    write_figure(path, figure, dpi=100)
