"""The demo's picture: the same explanation from 128 gradients and from one, and where one is not enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from captum_xg._files import write_figure
from captum_xg.datasets.fashion_mnist import CLASSES
from captum_xg.demo.comparison import Comparison

FloatArray = npt.NDArray[np.float32]


def draw(
    path: str | Path, images: Tensor, labels: Tensor, without: Comparison, with_biases: Comparison, rows: int = 6
) -> None:
    """Write a PNG with one row per image, and the two methods on both networks side by side.

    Red pixels speak for the class, blue ones against it. Each network has one colour scale per row, so that within it
    equal colours are equal numbers, the difference included.

    Args:
        path: The file to write.
        images: Shape ``(N, 1, 28, 28)``.
        labels: Shape ``(N,)``; the class whose logit is explained.
        without: Of the network without biases.
        with_biases: Of its twin.
        rows: How many images to show: the first one of each class, in the order they come.
    """
    # Not through pyplot, whose state and backend belong to the caller.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = _first_of_each_class(labels)[:rows]
    steps = without.integrated_gradients.gradient_evaluations
    titles = (
        "image",
        f"Integrated Gradients\n{steps} gradients",
        "X-Gradient\n1 gradient",
        "difference\n(same colours)",
        f"Integrated Gradients\n{steps} gradients",
        "input × gradient\n1 gradient",
        "difference\n(same colours)",
    )
    figure = Figure(figsize=(11.5, 1.45 * len(chosen) + 1.9), facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(chosen), 9, width_ratios=(1, 0.18, 1, 1, 1, 0.18, 1, 1, 1), left=0.085, right=0.985, top=0.825, bottom=0.075
    )
    columns = (0, 2, 3, 4, 6, 7, 8)
    for row, index in enumerate(chosen):
        panels = [images[index, 0].numpy(), *_panels(without, index), *_panels(with_biases, index)]
        for position, (column, panel) in enumerate(zip(columns, panels, strict=True)):
            axes = figure.add_subplot(grid[row, column])
            axes.set_xticks([])
            axes.set_yticks([])
            if position == 0:
                axes.imshow(1 - panel, cmap="gray", vmin=0, vmax=1)
                axes.set_ylabel(CLASSES[int(labels[index])], fontsize=10)
            else:
                reference = panels[1 if position < 4 else 4]
                limit = float(np.abs(reference).max())
                axes.imshow(panel, cmap="RdBu_r", vmin=-limit, vmax=limit)
            if position in (3, 6):
                share = (without if position == 3 else with_biases).differences[index]
                axes.set_xlabel(f"up to {_percent(float(share))}", fontsize=9)
            if row == 0:
                axes.set_title(titles[position], fontsize=9.5)
    figure.text(0.39, 0.925, "network without biases: F(αx) = αF(x)", ha="center", fontsize=12, weight="bold")
    figure.text(0.39, 0.897, "X-Gradient is Integrated Gradients", ha="center", fontsize=10.5, color="#1a7a3a")
    figure.text(0.80, 0.925, "the same network with biases", ha="center", fontsize=12, weight="bold")
    figure.text(
        0.80, 0.897, "one gradient is wrong, and XGradient refuses it", ha="center", fontsize=10.5, color="#b02020"
    )
    figure.text(0.5, 0.965, "Which pixels make the network see this garment?", ha="center", fontsize=14)
    figure.text(
        0.5,
        0.018,
        "Red pixels speak for the class, blue ones against it. Below each difference: its largest value, relative to "
        "the largest attribution of that image.",
        ha="center",
        fontsize=9.5,
    )
    write_figure(path, figure, dpi=130)


def _panels(comparison: Comparison, index: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    ig = comparison.integrated_gradients.attributions[index, 0].numpy()
    xg = comparison.x_gradient.attributions[index, 0].numpy()
    return ig, xg, xg - ig


def _first_of_each_class(labels: Tensor) -> list[int]:
    first: dict[int, int] = {}
    for index, label in enumerate(labels.tolist()):
        first.setdefault(label, index)
    return list(first.values())


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else f"{share:.0e}"
