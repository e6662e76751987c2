"""The pictures of the decoy experiment: accuracies with intervals, and attributions with and without a prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from captum_xg._files import write_figure
from captum_xg.datasets.fashion_mnist import CLASSES
from captum_xg.repro.decoy_protocol import CLEAN, CLEAN_XDNN, Labelled, Method, without_prior
from captum_xg.repro.decoy_report import Outcomes
from captum_xg.repro.decoy_results import Outcome
from captum_xg.repro.decoy_training import explain
from captum_xg.repro.estimate import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WITH_BIASES, XDNN = "#b5562c", "#1f6f8b"
LINES = {"rrr": "#7a4fa3", "eg1": "#e0a030", "eg8": "#b5562c", "ixg": "#6b8e23", "xg": XDNN}


def draw_accuracies(path: Path, outcomes: Outcomes, title: str) -> None:
    """Write a PNG: test accuracies with 95 % intervals and what a step costs, and what choosing λ looked like.

    Args:
        path: The file to write.
        outcomes: Of all methods.
        title: Of the picture.
    """
    # Not through pyplot, whose state and backend belong to the caller.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5.2), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    _accuracies(left, outcomes)
    tried = [outcome for outcome in outcomes.values() if outcome.grid]
    right.sharey(middle)
    _choice(middle, tried, "validation", "random decoys: what λ is chosen on")
    _choice(right, tried, "confounded", "decoys as in training: cannot choose λ")
    middle.legend(loc="lower center", fontsize=9)
    figure.suptitle(title, fontsize=13)
    write_figure(path, figure, dpi=130)


def _accuracies(axes: Axes, outcomes: Outcomes) -> None:
    rows = list(outcomes.values())
    for row, outcome in enumerate(rows):
        found = estimate(outcome.values("test"))
        colour = WITH_BIASES if outcome.method.bias else XDNN
        axes.errorbar(
            100 * found.mean, row, xerr=100 * found.reach, fmt="o", color=colour, capsize=4, markersize=6, lw=1.6
        )
        axes.plot(100 * np.array(outcome.values("test")), [row + 0.22] * found.n, "|", color=colour, alpha=0.6, ms=6)
        if outcome.method.attribution:
            plain = outcomes[without_prior(outcome.method)]
            axes.text(
                1.02, row, f"{outcome.seconds / plain.seconds:.1f} ×", transform=axes.get_yaxis_transform(), va="center"
            )
    axes.text(1.02, -0.9, "step cost", transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    for method, colour in ((CLEAN, WITH_BIASES), (CLEAN_XDNN, XDNN)):
        axes.axvline(100 * estimate(outcomes[method].values("test")).mean, color=colour, lw=0.8, ls=":")
    axes.set_yticks(range(len(rows)), [outcome.method.label for outcome in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("test accuracy in %: mean, 95 % interval, and each seed")
    axes.grid(axis="x", alpha=0.25)


def _choice(axes: Axes, outcomes: Sequence[Outcome], score: str, title: str) -> None:
    for outcome in outcomes:
        means = {
            weight: sum(run.scores[score] for run in runs if run.scores) / len(runs)
            for weight, runs in sorted(outcome.grid.items())
            if all(run.scores for run in runs)
        }
        colour = LINES[outcome.method.key]
        axes.plot(
            list(means),
            [100 * v for v in means.values()],
            "o-",
            ms=3.5,
            lw=1.4,
            color=colour,
            label=outcome.method.label,
        )
        if score == "validation":
            axes.plot(outcome.weight, 100 * means[outcome.weight], "o", ms=10, mfc="none", color=colour)
    axes.set_xscale("log")
    axes.set_xlabel("λ")
    axes.set_ylabel("validation accuracy in %")
    axes.set_title(title, fontsize=10.5)
    axes.grid(alpha=0.25)


def draw_examples(path: Path, models: Mapping[Method, nn.Module], data: Labelled, rows: int = 6) -> None:
    """Write a PNG with one row per test image: what each network takes as evidence for the class that it is.

    Red pixels speak for the class, blue ones against it; each panel has its own scale. Below it, what the network says.

    Args:
        path: The file to write.
        models: What to explain, on the CPU.
        data: Test images with random decoys, on the CPU; the first one of each class is shown.
        rows: How many images to show.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first: dict[int, int] = {}
    for index, label in enumerate(data.labels.tolist()):
        first.setdefault(label, index)
    chosen = list(first.values())[:rows]
    images, labels, patch = (part[chosen] for part in data)
    figure = Figure(
        figsize=(1.55 * (len(models) + 1), 1.72 * len(chosen) + 1.1), facecolor="white", layout="constrained"
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(chosen), len(models) + 1, squeeze=False)
    for row, label in enumerate(labels.tolist()):
        axes = grid[row][0]
        axes.imshow(images[row, 0].numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_ylabel(CLASSES[label], fontsize=10)
    for column, (method, model) in enumerate(models.items(), start=1):
        found, said = explain(model, images, labels), model(images).argmax(1)
        for row in range(len(chosen)):
            _attributions(grid[row][column], found[row, 0], patch[row, 0], right=bool(said[row] == labels[row]))
            grid[row][column].set_xlabel(CLASSES[int(said[row])], fontsize=8.5, labelpad=2)
            grid[row][column].xaxis.label.set_color("#1a7a3a" if said[row] == labels[row] else "#b02020")
        grid[0][column].set_title(method.label.replace(", ", ",\n").replace(" (", "\n("), fontsize=9.5)
    grid[0][0].set_title("test image", fontsize=9.5)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(
        "Integrated Gradients: what speaks for the true class (red) or against it (blue); below: what the network says",
        fontsize=12,
    )
    write_figure(path, figure, dpi=130)


def _attributions(axes: Axes, attributions: Tensor, patch: Tensor, *, right: bool) -> None:
    values = attributions.numpy()
    limit = float(np.abs(values).max()) or 1.0
    axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    inside = patch.numpy()
    top, left = (int(np.flatnonzero(inside.any(axis))[0]) for axis in (1, 0))
    axes.plot(
        np.array([left, left + 4, left + 4, left, left]) - 0.5,
        np.array([top, top, top + 4, top + 4, top]) - 0.5,
        color="black",
        lw=0.7,
    )
    for spine in axes.spines.values():
        spine.set_color("#1a7a3a" if right else "#b02020")
