"""Pictures of the analysis: maps in a grid with one scale of colours, regions framed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from captum_xg._core.figures import FRAME, colour_bar, new_figure, scale_of, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE = 1.55
"""Width of a map, in inches."""
_BEST = 98.0
"""The percentile of all places that has the end of the colours: a few bright places would leave all others pale."""


def draw_maps(
    maps: Tensor,
    titles: Sequence[str],
    label: str,
    *,
    signed: bool,
    frames: Sequence[tuple[slice, ...]] = (),
) -> Figure:
    """Return a figure of maps ``(G, H, W)`` or ``(G, F)``, all with one scale of colours.

    Args:
        maps: Signed ones are red above and blue below 0; others go from white to dark.
        titles: One for each.
        label: Of the colour bar.
        signed: Whether there are numbers below 0.
        frames: For each map a part of it to be framed.
    """
    numbers = maps.numpy().reshape(len(maps), 1, -1) if maps.dim() == 2 else maps.numpy()
    columns = min(len(maps), 5 if maps.dim() == 3 else 1) or 1
    rows = max(1, -(-len(maps) // columns))
    lines = max((title.count("\n") + 1 for title in titles), default=1)
    width = _SIDE * columns if maps.dim() == 3 else 7.5
    height = rows * ((_SIDE if maps.dim() == 3 else 0.35) + 0.19 * lines) + 0.7
    figure = new_figure(max(width, 4.0), height)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(maps) :]:
        axes.set_axis_off()
    scale = float(np.percentile(np.abs(numbers), _BEST)) if numbers.size else 0.0
    scale = scale or scale_of(numbers)
    drawn: Any = None
    for i, (axes, title) in enumerate(zip(grid.flat, titles, strict=False)):
        low = -scale if signed else 0.0
        drawn = axes.imshow(
            numbers[i],
            cmap="RdBu_r" if signed else "Purples",
            vmin=low,
            vmax=scale,
            aspect="auto" if maps.dim() == 2 else "equal",
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title("\n".join(wrapped(line, width / columns, 8) for line in title.split("\n")), fontsize=8)
        if i < len(frames):
            _frame(axes, frames[i] if maps.dim() == 3 else (slice(0, 1), *frames[i]))
    if drawn is not None:
        colour_bar(figure, drawn, grid, f"{label} (darkest: {scale:.2g} or more)")
    return figure


def _frame(axes: Any, part: tuple[slice, ...]) -> None:
    from matplotlib.patches import Rectangle

    rows, columns = part
    corner = (columns.start - 0.5, rows.start - 0.5)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=FRAME, linewidth=1.6, clip_on=False))
