"""The picture of costs: seconds, memory and arithmetic of each way to do a step, relative to X-Gradient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._core.figures import method_style, new_figure, plain_log_ticks
from captum_xg._core.files import write_figure
from captum_xg.repro.cost.costs import Costs
from captum_xg.repro.cost.steps import EXPECTED, PLAIN, PLAIN_X, XG, Way

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = (PLAIN, PLAIN_X, XG, *EXPECTED)
_STYLES = {PLAIN: "no prior", PLAIN_X: "no prior", XG: "X-Gradient"}
Point = tuple[float, float, float]
"""A ratio and the ends of its interval."""


def draw(path: Path, costs: Costs) -> None:
    """Write a PNG."""
    figure = new_figure(9.6, 3.1)
    axes = list(figure.subplots(1, 3, sharey=True))
    _panel(axes[0], "seconds", lambda way: _seconds(costs, way))
    _panel(axes[1], "peak memory", lambda way: _alone(costs.larger(way, XG)))
    _panel(axes[2], "arithmetic", lambda way: _alone(costs.arithmetic(way, XG)))
    axes[0].set_yticks(range(len(_SHOWN)), [way.label for way in _SHOWN])
    axes[0].invert_yaxis()
    figure.supxlabel("times X-Gradient, logarithmic", fontsize=10)
    write_figure(path, figure, dpi=110)


def _panel(axes: Axes, title: str, point: Callable[[Way], Point | None]) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xscale("log")
    axes.axvline(1, color="#b0b0b0", lw=1)
    axes.grid(axis="x", alpha=0.3)
    axes.set_ylim(-0.6, len(_SHOWN) - 0.4)
    largest = 1.0
    for row, way in enumerate(_SHOWN):
        found, style = point(way), method_style(_STYLES.get(way, "Expected Gradients"))
        if found is None:
            axes.text(1.15, row, "does not fit", va="center", fontsize=9)
            continue
        value, low, high = found
        largest = max(largest, high)
        reach = [[max(0.0, value - low)], [max(0.0, high - value)]]
        axes.errorbar(value, row, xerr=reach, color=style.colour, marker=style.marker, capsize=3, markersize=7)
        axes.annotate(
            f"{value:.3g}", (max(value, high), row), (7, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.set_xlim(0.25, largest * 4)
    plain_log_ticks(axes.xaxis)


def _seconds(costs: Costs, way: Way) -> Point | None:
    found = costs.times(way, XG)
    return None if found is None else (found.value, found.low, found.high)


def _alone(value: float | None) -> Point | None:
    return None if value is None else (value, value, value)
