"""Figure 2, drawn anew: accuracy over contrast, and attributions of one image at two contrasts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg._core.figures import SPEAKS, colour_bar, method_style, new_figure
from captum_xg._core.files import write_figure
from captum_xg.repro.figure2.accuracy import CONTRASTS, POWERS, Accuracy
from captum_xg.repro.figure2.grid import COLUMNS, Example, draw_example

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(path: Path, xdnn: Accuracy, regular: Accuracy, example: Example) -> None:
    """Write a PNG.

    Args:
        path: Where.
        xdnn: Accuracies of the X-AlexNet.
        regular: Of AlexNet.
        example: The image on the right.
    """
    figure = new_figure(11.5, 3.9)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.65))
    left, right = parts
    _accuracies(left.subplots(), xdnn, regular)
    rows = right.subplots(2, len(COLUMNS), squeeze=False)
    drawn = draw_example(rows, example, headed=True)
    colour_bar(right, drawn, rows, f"attribution, each map by its own scale: {SPEAKS}")
    write_figure(path, figure, dpi=100)


def _accuracies(axes: Axes, xdnn: Accuracy, regular: Accuracy) -> None:
    for label, found, style in (
        ("X-AlexNet", xdnn, method_style("xgradient")),
        ("AlexNet", regular, method_style("integrated_gradients")),
    ):
        values = [found.percent(contrast) for contrast in CONTRASTS]
        low, high = [v.low for v in values], [v.high for v in values]
        axes.fill_between(CONTRASTS, low, high, color=style.colour, alpha=0.15, linewidth=0)
        axes.plot(CONTRASTS, [v.value for v in values], "-", marker=style.marker, color=style.colour, ms=4, label=label)
    axes.set_xscale("log", base=2)
    axes.invert_xaxis()  # as in the paper: contrast falls to the right
    shown = POWERS[::2]
    axes.set_xticks(shown, ["1" if p == 1 else f"1/{round(1 / p)}" for p in shown], fontsize=8.5)
    axes.set_ylim(0, 100)
    axes.set_xlabel("contrast α")
    axes.set_ylabel("top-1 accuracy, %, and 95 % interval")
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    axes.grid(alpha=0.25)
