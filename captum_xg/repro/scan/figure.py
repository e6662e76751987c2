"""Pictures of the scan: the regions that stand out first, and what a prior on them changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_xg._core.figures import FRAME, new_figure
from captum_xg._core.files import write_figure
from captum_xg.repro.scan.claims import percent
from captum_xg.repro.scan.measure import SHOWN
from captum_xg.repro.scan.results import Results
from captum_xg.repro.section import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REGIONS, EFFECT = "scan_regions.png", "scan_effect.png"
_SIDE = 28
_COLOURS = {"before": "#d55e00", "after": "#0072b2"}


def draw(folder: Path, results: Results) -> tuple[Panel, ...]:
    """Write the pictures, and return them as panels of a report."""
    _draw_regions(folder / REGIONS, results)
    _draw_effect(folder / EFFECT, results)
    regions = "What stands out first (seed 0): mean share of the attribution in a cluster, on a scale of its own"
    effect = "Before and after a prior on the regions found: one point for each network"
    return (
        Panel(regions, picture=REGIONS, description="A row of maps for each share of images with the patch"),
        Panel(effect, picture=EFFECT, description="Share of the attribution in the patch, and accuracies"),
    )


def _draw_regions(path: Path, results: Results) -> None:
    from matplotlib.patches import Rectangle

    shares = results.shares
    figure = new_figure(1.45 * SHOWN + 0.5, 1.85 * len(shares))
    grid = figure.subplots(len(shares), SHOWN, squeeze=False)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for row, share in zip(grid, shares, strict=True):
        unit: Any = results.of(share)[0]
        row[0].set_ylabel(f"patch in {percent(share)}", fontsize=9)
        for axes, region, numbers in zip(row, unit["regions"], unit["maps"], strict=False):
            shown = np.asarray(numbers).reshape(_SIDE, _SIDE)
            axes.imshow(shown, cmap="Purples", vmin=0, vmax=float(np.percentile(shown, 98)) or 1.0)
            (top, left), (height, width) = region["corner"], region["size"]
            box = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=FRAME, linewidth=1.6)
            axes.add_patch(box)
            box.set_clip_on(False)
            axes.set_title(f"{region['group']}, {region['score']:.2f}", fontsize=8)
    write_figure(path, figure, dpi=100)


def _draw_effect(path: Path, results: Results) -> None:
    figure = new_figure(9.0, 3.2)
    titles = {
        "patch": "share of the attribution in the patch",
        "clean": "accuracy without patches",
        "random": "accuracy with random patches",
    }
    for axes, (what, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        _points(axes, results, what)
        axes.set_title(title, fontsize=9.5)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    write_figure(path, figure, dpi=100)


def _points(axes: Axes, results: Results, what: str) -> None:
    shares = results.shares
    for when, shift, label in (("before", -0.12, "without a prior"), ("after", 0.12, "with the prior")):
        there = [i for i, share in enumerate(shares) if all(when in unit for unit in results.of(share))]
        x = [i + shift for i in there for _ in range(results.seeds)]
        y = [value for i in there for value in results.each(shares[i], when, what)]
        marker = "o" if when == "before" else "D"
        axes.plot(x, y, marker, color=_COLOURS[when], markersize=5, alpha=0.8, label=label)
    axes.set_xticks(range(len(shares)), [percent(share) for share in shares])
    axes.set_xlim(-0.5, len(shares) - 0.5)
    axes.set_xlabel("images with the patch", fontsize=9)
    axes.tick_params(labelsize=8.5)
    axes.grid(axis="y", alpha=0.3)
    if what == "patch":
        axes.set_ylim(bottom=0)
