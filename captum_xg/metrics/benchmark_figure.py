"""The figures of a benchmark: curves with their intervals, and cost against quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from captum_xg.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from captum_xg.metrics.benchmark_result import BenchmarkResult, MethodResult

# Okabe and Ito's colours, told apart by colour-blind readers too; controls are grey.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a5a00", "#5d3a9b")
_GREYS = ("#6f6f6f", "#a8a8a8")
_MARKERS = "osD^vP*X"
_LINES = ("-", "--", "-.", (0, (6, 2)))
_OF_CONTROLS: tuple[Any, ...] = (":", (0, (1, 3)))
_COSTS = {
    "seconds": "milliseconds per example",
    "gradient_evaluations": "gradient evaluations per example",
    "forward_passes": "forward passes per example",
}


def draw_curves(result: BenchmarkResult, names: Sequence[str] | None) -> Figure:
    """Draw the curves; see :meth:`captum_xg.metrics.benchmark_result.BenchmarkResult.plot_curves`."""
    having = [name for name in result.metrics if any(name in m.curves for m in result.methods.values())]
    chosen = having if names is None else list(names)
    lacking = [name for name in chosen if name not in having]
    if lacking or not chosen:
        missing = f"{', '.join(lacking)} has no curve" if lacking else "no metric has a curve"
        raise OptionError(f"BenchmarkResult.plot_curves: {missing}; with curves are {', '.join(having) or 'none'}.")
    figure, panels = _panels(len(chosen))
    for axes, name in zip(panels, chosen, strict=True):
        for method, style in _styles(result):
            if name not in method.curves:
                continue
            curve = method.curves[name]
            axes.plot(curve.fractions, [v.value for v in curve.values], label=method.name, **style)
            low, high = [v.low for v in curve.values], [v.high for v in curve.values]
            axes.fill_between(curve.fractions, low, high, color=style["color"], alpha=0.13, linewidth=0)
        axes.set_xscale("log")
        axes.set_xlabel("fraction of the features kept")
        axes.set_ylabel(result.metrics[name].unit)
        _entitle(axes, result, name)
    _legend(figure, panels[0], "Bands: 95 % bootstrap intervals")
    return figure


def draw_cost_quality(result: BenchmarkResult, names: Sequence[str], cost: str) -> Figure:
    """Draw cost against quality; see :meth:`captum_xg.metrics.benchmark_result.BenchmarkResult.plot_cost_quality`."""
    if cost not in _COSTS:
        raise OptionError(
            f"BenchmarkResult.plot_cost_quality: `cost` must be {', '.join(map(repr, _COSTS))} but is {cost!r}."
        )
    figure, panels = _panels(len(names))
    for axes, name in zip(panels, names, strict=True):
        for place, (method, style) in enumerate(_styles(result)):
            spent = None if method.cost is None else getattr(method.cost, cost)
            if spent is None or not math.isfinite(method.estimates[name].value):
                continue
            found = method.estimates[name]
            x = 1000 * spent if cost == "seconds" else spent
            reach = None if math.isnan(found.low) else [[found.value - found.low], [found.high - found.value]]
            if reach is not None:
                # The value lies outside of its own percentile interval now and then.
                reach = [[max(0.0, side[0])] for side in reach]
            marker = _MARKERS[place % len(_MARKERS)]
            axes.errorbar(
                x, found.value, reach, fmt=marker, color=style["color"], capsize=3, markersize=6, label=method.name
            )
        if cost == "seconds":
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=1)  # the controls need none
            axes.set_xlim(left=-0.2)
        axes.set_xlabel(_COSTS[cost])
        _entitle(axes, result, name)
    _legend(figure, panels[0], "Bars: 95 % bootstrap intervals")
    return figure


def _panels(n: int) -> tuple[Figure, list[Axes]]:
    # Not through pyplot, whose state and backend belong to the caller.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(n, 2 if n in (2, 4) else 3)
    rows = -(-n // columns)
    figure = Figure(figsize=(4.6 * columns, 3.5 * rows + 0.7), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = [axes for row in figure.subplots(rows, columns, squeeze=False) for axes in row]
    for unused in grid[n:]:
        unused.remove()
    return figure, grid[:n]


def _styles(result: BenchmarkResult) -> list[tuple[MethodResult, dict[str, Any]]]:
    found, counts = [], {True: 0, False: 0}
    for method in result.methods.values():
        place = counts[method.control]
        counts[method.control] += 1
        if method.control:
            style: dict[str, Any] = {"color": _GREYS[place % len(_GREYS)], "linewidth": 1.6}
            style["linestyle"] = _OF_CONTROLS[place % len(_OF_CONTROLS)]
        else:
            # Equal curves lie on each other: the one below is wider and shows through the gaps of the one above.
            line, width = _LINES[place % len(_LINES)], max(1.6, 3.4 - 0.6 * place)
            style = {"color": _COLOURS[place % len(_COLOURS)], "linestyle": line, "linewidth": width}
        found.append((method, style))
    return found


def _entitle(axes: Axes, result: BenchmarkResult, name: str) -> None:
    better = result.metrics[name].higher_is_better
    way = {True: "more is better", False: "less is better", None: ""}[better]
    axes.set_title(name + (f"\n{way}" if way else ""), fontsize=10)
    axes.grid(alpha=0.3)


def _legend(figure: Figure, axes: Axes, title: str) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False, title=title, fontsize=9
    )
