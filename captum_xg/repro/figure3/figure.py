"""The picture of Figure 3: mean absolute difference over the number of steps, to IG(300) and to the exact integral."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from captum_xg._core.figures import legend_below, new_figure
from captum_xg._core.files import write_figure
from captum_xg.repro.figure3.curves import Curves
from captum_xg.repro.figure3.measure import RULES, STEPS
from captum_xg.repro.figure3.report import Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = dict(zip(RULES, ("#d08a00", "#009e73", "#cc79a7", "#d55e00", "#0072b2"), strict=True))
_MARKERS = dict(zip(RULES, "so^<>", strict=True))
_LINES: tuple[Literal["-", "--"], ...] = ("-", "--")


def draw(path: Path, networks: Sequence[Network]) -> None:
    """Write a PNG with a panel for each reference, a colour for each rule, and a kind of line for each network."""
    from matplotlib.lines import Line2D

    figure = new_figure(9.6, 4.6)
    left, right = figure.subplots(1, 2, sharey=True)
    _panel(left, [network.to_300 for network in networks], "to IG(300), as in the paper")
    _panel(right, [network.to_exact for network in networks], "to the exact integral")
    left.set_ylabel("mean absolute difference")
    left.axvline(128, color="#808080", linewidth=0.9, linestyle=":")
    left.text(120, 0.5, "128 steps", transform=left.get_xaxis_transform(), ha="right", va="center", fontsize=8.5)
    handles = [Line2D([], [], color=_COLOURS[rule], marker=_MARKERS[rule], markersize=5) for rule in RULES]
    handles += [Line2D([], [], color="#404040", linestyle=line) for line in _LINES[: len(networks)]]
    legend_below(figure, handles, [*RULES, *(network.name for network in networks)])
    write_figure(path, figure, dpi=100)


def _panel(axes: Axes, curves: Sequence[Curves | None], title: str) -> None:
    shown = [(each, line) for each, line in zip(curves, _LINES, strict=True) if each is not None]
    for each, line in shown:
        for rule in RULES:
            # What is 0 has no place on a logarithmic axis, and no line goes there.
            points = [(n, value) for n, value in zip(STEPS, each.mean(rule), strict=True) if value > 0]
            steps, values = ([point[i] for point in points] for i in (0, 1))
            colour, marker = _COLOURS[rule], _MARKERS[rule]
            axes.plot(steps, values, color=colour, marker=marker, markersize=4.5, linestyle=line, linewidth=1.5)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(STEPS)
    axes.set_xlabel("steps")
    axes.set_title(title, fontsize=10.5)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if not shown:
        axes.text(0.5, 0.5, "not computed", transform=axes.transAxes, ha="center")
