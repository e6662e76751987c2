"""The curves whose areas Table 3 has, with the paper's mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._core.figures import legend_below, method_style, new_figure, plain_log_ticks
from captum_xg._core.files import write_figure
from captum_xg.repro.table3.ordering import AllScores
from captum_xg.repro.table3.printed import METRICS
from captum_xg.repro.table3.scores import NAMES, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = {
    "KPM": "logit of the class",
    "KNM": "logit of the class",
    "KAM": "top-1 accuracy, %",
    "RAM": "top-1 accuracy, %",
}


def draw(path: Path, scores: AllScores) -> None:
    """Write a PNG: a row for each network, a panel for each metric, a line for each method."""
    figure = new_figure(12.5, 5.0)
    grid = figure.subplots(len(scores), len(METRICS), squeeze=False, sharex=True)
    for row, each in zip(grid, scores.values(), strict=True):
        for axes, metric in zip(row, METRICS, strict=True):
            _curves(axes, each, metric)
    for axes, metric in zip(grid[0], METRICS, strict=True):
        way = "more is better" if METRICS[metric] else "less is better"
        axes.set_title(f"{metric}: {way}", fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("share of pixels kept", fontsize=9)
    # Of all panels, as X-Gradient is in those of one network only.
    pairs = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in grid.flat]
    shown = {label: handle for panel in pairs for handle, label in panel}
    legend_below(figure, list(shown.values()), list(shown), "Means over images")
    write_figure(path, figure, dpi=64)


def _curves(axes: Axes, scores: Scores, metric: str) -> None:
    fractions = scores.values["fractions"]
    for method, name in NAMES.items():
        if not scores.has(method):
            continue
        points, style = scores.curve(metric, method), method_style(name)
        axes.plot(fractions, [p.value for p in points], label=method, **style.of_line())
    axes.set_xscale("log")
    plain_log_ticks(axes.xaxis)
    axes.tick_params(labelsize=8)
    axes.set_ylabel(f"{scores.network}: {_UNITS[metric]}", fontsize=9)
    axes.grid(alpha=0.25)
