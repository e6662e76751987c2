"""Picture of the demo: the same explanation from 128 gradients and from one, and where one is not enough."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from captum_xg._core.figures import (
    RIGHT,
    SPEAKS,
    WRONG,
    colour_bar,
    new_figure,
    scale_of,
    show_attributions,
    show_image,
)
from captum_xg._core.files import write_figure
from captum_xg.datasets.fashion_mnist import CLASSES, first_of_each_class
from captum_xg.demo.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


def draw(
    path: str | Path, images: Tensor, labels: Tensor, without: Comparison, with_biases: Comparison, rows: int = 6
) -> None:
    """Write a PNG with one row per image, and the two methods on both networks side by side.

    Red pixels speak for the class, blue ones against it. Each network has one colour scale per row, so that within it
    equal colours are equal numbers, the difference included.
    The first image of each class is shown, up to that many rows.
    """
    chosen = first_of_each_class(labels)[:rows]
    figure = new_figure(12.5, 1.52 * len(chosen) + 2.6)
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1.12, 3.05, 3.05), squeeze=False)[0]
    # Blank titles and bar, so that rows of all three parts are level.
    left.suptitle(" \n ", fontsize=12)
    grid = left.subplots(len(chosen), 1, squeeze=False)
    for axes, index in zip(grid[:, 0], chosen, strict=True):
        drawn = show_image(axes, images[index, 0])
        axes.set_ylabel(CLASSES[int(labels[index])], fontsize=10.5)
        axes.set_xlabel(" ", fontsize=9)
    grid[0, 0].set_title("image\n ", fontsize=9.5)
    colour_bar(left, drawn, grid, "grey value\n ").set_ticks([0, 1])
    _network(middle, without, chosen, "X-Gradient")
    _network(right, with_biases, chosen, "input × gradient")
    middle.suptitle(
        "network without biases: F(αx) = αF(x)\nX-Gradient is Integrated Gradients", color=RIGHT, fontsize=12
    )
    right.suptitle(
        "the same network with biases\none gradient is not enough: XGradient refuses", color=WRONG, fontsize=12
    )
    figure.suptitle("Which pixels make the network see this garment?", fontsize=14)
    write_figure(path, figure, dpi=110)


def _network(part: SubFigure, comparison: Comparison, chosen: list[int], one_gradient: str) -> None:
    steps = comparison.integrated_gradients.gradient_evaluations
    titles = (f"Integrated Gradients\n{steps} gradients", f"{one_gradient}\n1 gradient", "difference\n(same scale)")
    grid = part.subplots(len(chosen), 3, squeeze=False)
    for row, index in zip(grid, chosen, strict=True):
        ig = comparison.integrated_gradients.attributions[index, 0].numpy()
        xg = comparison.x_gradient.attributions[index, 0].numpy()
        scale = scale_of(ig)
        for axes, panel in zip(row, (ig, xg, xg - ig), strict=True):
            drawn = show_attributions(axes, panel, scale)
        row[0].set_xlabel(f"1 = {scale:.2g} logits", fontsize=9)
        row[2].set_xlabel(f"up to {_percent(float(comparison.differences[index]))}", fontsize=9)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9.5)
    label = f"attribution, as a share of the largest of Integrated Gradients in its row\n({SPEAKS})"
    colour_bar(part, drawn, grid, label)


def _percent(share: float) -> str:
    digits = 0 if share >= 0.005 or share == 0 else math.ceil(-math.log10(100 * share))
    return f"{share:.{digits}%}"
