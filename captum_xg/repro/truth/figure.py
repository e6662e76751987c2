"""The picture of known truth: the mean error of each method on each network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._core.figures import method_style, new_figure, wrapped
from captum_xg._core.files import write_figure
from captum_xg.repro.truth import methods
from captum_xg.repro.truth.measure import KINDS, Kind
from captum_xg.repro.truth.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = tuple(method for method in methods.METHODS if method.has_unit)
_STYLES = {
    "XG": "X-Gradient",
    "exact": "exact",
    "IG": "Integrated Gradients",
    "IxG": "input × gradient",
    "joint": "input × gradient",
    "EG1": "Expected Gradients (1)",
    "EG32": "Expected Gradients (32)",
    "EG32 data": "Expected Gradients (32)",
}
_FLOOR, _CEILING = 1e-17, 30.0


def draw(path: Path, results: Results) -> None:
    """Write a PNG."""
    figure = new_figure(9.6, 6.4)
    grid = figure.subplots(2, 4, sharex=True, sharey=True)
    for axes, kind in zip(grid.flat, KINDS, strict=False):
        _panel(axes, kind, results)
    grid.flat[-1].axis("off")
    grid.flat[3].tick_params(labelbottom=True)  # nothing is below it
    grid.flat[0].set_yticks(range(len(_SHOWN)), [method.label for method in _SHOWN])
    grid.flat[0].invert_yaxis()
    figure.supxlabel("mean of Σ|attribution − truth| / Σ|truth|, logarithmic", fontsize=10)
    write_figure(path, figure, dpi=100)


def _panel(axes: Axes, kind: Kind, results: Results) -> None:
    axes.set_title(wrapped(kind.title, 2.0, 9), fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(_FLOOR, _CEILING)
    axes.set_xticks([1e-16, 1e-12, 1e-8, 1e-4, 1])
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", alpha=0.3)
    for row, method in enumerate(_SHOWN):
        found = results.mean(kind, method, "error")
        if found is None:
            said = "refuses" if results.refused(kind, method) else "not known"
            axes.text(_FLOOR * 3, row, said, va="center", fontsize=8, color="#666666")
            continue
        style = method_style(_STYLES.get(method.key, method.label))
        value = max(found.value, _FLOOR * 2)  # no error at all has no place on a logarithmic axis
        reach = [[max(0.0, value - max(found.low, _FLOOR))], [max(0.0, found.high - value)]]
        axes.errorbar(value, row, xerr=reach, color=style.colour, marker=style.marker, markersize=5.5, capsize=2)
