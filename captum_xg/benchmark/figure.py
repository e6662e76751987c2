"""Figures of a benchmark: curves with their intervals, and cost against quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from captum_xg._core.figures import legend_below, method_style, new_figure, plain_log_ticks, wrapped
from captum_xg.benchmark.findings import Findings
from captum_xg.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 4.8, 3.2
"""Of a panel, in inches: with its labels, and of its axes alone."""
_COSTS = {
    "seconds": "milliseconds per example",
    "gradient_evaluations": "gradient evaluations per example",
    "forward_passes": "forward passes per example",
}


def draw_curves(result: Findings, names: Sequence[str] | None) -> Figure:
    """Draw the curves; see :meth:`captum_xg.benchmark.result.BenchmarkResult.plot_curves`."""
    having = [name for name in result.metrics if any(name in m.curves for m in result.methods.values())]
    chosen = having if names is None else list(names)
    lacking = [name for name in chosen if name not in having]
    if lacking or not chosen:
        missing = f"{', '.join(lacking)} has no curve" if lacking else "no metric has a curve"
        raise OptionError(f"BenchmarkResult.plot_curves: {missing}; with curves are {', '.join(having) or 'none'}.")
    figure, panels = _panels(len(chosen))
    for axes, name in zip(panels, chosen, strict=True):
        for method in result.methods.values():
            if name not in method.curves:
                continue
            curve, style = method.curves[name], method_style(method.name)
            axes.plot(curve.fractions, [v.value for v in curve.values], label=method.name, **style.of_line())
            low, high = [v.low for v in curve.values], [v.high for v in curve.values]
            axes.fill_between(curve.fractions, low, high, color=style.colour, alpha=0.12, linewidth=0)
        axes.set_xscale("log")
        plain_log_ticks(axes.xaxis)
        axes.set_xlabel("fraction of the features kept")
        axes.set_ylabel(wrapped(result.metrics[name].unit or f"value of {name}", _HEIGHT, 10.0))
        _entitle(axes, result, name)
    _legend(figure, panels, result, "Bands: 95 % bootstrap intervals")
    return figure


def draw_cost_quality(result: Findings, names: Sequence[str], cost: str) -> Figure:
    """Draw cost against quality; see :meth:`captum_xg.benchmark.result.BenchmarkResult.plot_cost_quality`."""
    if cost not in _COSTS:
        raise OptionError(
            f"BenchmarkResult.plot_cost_quality: `cost` must be {', '.join(map(repr, _COSTS))} but is {cost!r}."
        )
    figure, panels = _panels(len(names))
    for axes, name in zip(panels, names, strict=True):
        for method in result.methods.values():
            spent = None if method.cost is None else getattr(method.cost, cost)
            if spent is None or not math.isfinite(method.estimates[name].value):
                continue
            found, style = method.estimates[name], method_style(method.name)
            x = 1000 * spent if cost == "seconds" else spent
            reach = None if math.isnan(found.low) else [[found.value - found.low], [found.high - found.value]]
            if reach is not None:
                # The value lies outside of its own percentile interval now and then.
                reach = [[max(0.0, side[0])] for side in reach]
            axes.errorbar(
                x, found.value, reach, fmt=style.marker, color=style.colour, capsize=3, markersize=7, label=method.name
            )
        if cost == "seconds":
            axes.set_xscale("log")
            plain_log_ticks(axes.xaxis)
        else:
            axes.set_xscale("symlog", linthresh=1)  # the controls need none
            axes.set_xlim(left=-0.2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(_COSTS[cost])
        curved = any(name in method.curves for method in result.methods.values())
        unit = result.metrics[name].unit
        meaning = f"area under the curve of the {unit}" if curved and unit else unit or f"value of {name}"
        axes.set_ylabel(wrapped(meaning, _HEIGHT, 10.0))
        _entitle(axes, result, name)
    _legend(figure, panels, result, "Bars: 95 % bootstrap intervals")
    return figure


def _panels(n: int) -> tuple[Figure, list[Axes]]:
    columns = min(n, 2 if n in (2, 4) else 3)
    rows = -(-n // columns)
    figure = new_figure(_WIDTH * columns, (_HEIGHT + 0.6) * rows)
    grid = [axes for row in figure.subplots(rows, columns, squeeze=False) for axes in row]
    for unused in grid[n:]:
        unused.remove()
    return figure, grid[:n]


def _entitle(axes: Axes, result: Findings, name: str) -> None:
    metric = result.metrics[name]
    way = {True: "more is better", False: "less is better", None: ""}[metric.higher_is_better]
    title = name if metric.short == name else f"{name} ({metric.short})"
    axes.set_title("\n".join(filter(None, (wrapped(title, _WIDTH - 1.2, 10.0), way))), fontsize=10)
    axes.grid(alpha=0.3)


def _legend(figure: Figure, panels: Sequence[Axes], result: Findings, title: str) -> None:
    handles: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    missing = [method.name for method in result.methods.values() if method.name not in handles]
    drawn = [name for name in result.methods if name in handles]
    note = f"; not shown, as there are no numbers: {', '.join(missing)}" if missing else ""
    labels = [f"{name} (control)" if result.methods[name].control else name for name in drawn]
    legend_below(figure, [handles[name] for name in drawn], labels, title + note)
