"""Figure 4, drawn anew: two examples side by side, each two rows of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg._core.figures import SPEAKS, colour_bar, new_figure
from captum_xg._core.files import write_figure
from captum_xg.repro.figure2.grid import COLUMNS, Example, draw_example
from captum_xg.repro.figure2.maps import SHOWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BESIDE = 2
"""Examples in a row of the figure."""


def draw(path: Path, examples: Sequence[Example]) -> None:
    """Write a PNG."""
    blocks = min(BESIDE, len(examples))
    lines = -(-len(examples) // blocks)
    figure = new_figure(5.8 * blocks, 2.2 * lines + 0.9)
    rows = figure.subplots(len(SHOWN) * lines, len(COLUMNS) * blocks, squeeze=False)
    drawn: Any = None
    used: list[Axes] = []
    for i in range(lines * blocks):
        top, left = len(SHOWN) * (i // blocks), len(COLUMNS) * (i % blocks)
        part = [row[left : left + len(COLUMNS)] for row in rows[top : top + len(SHOWN)]]
        if i < len(examples):
            drawn = draw_example(part, examples[i], headed=i < blocks)
            used += [axes for row in part for axes in row]
        else:  # an odd number of them leaves a place
            for axes in (each for row in part for each in row):
                axes.remove()
    colour_bar(figure, drawn, used, f"attribution, each map by its own scale: {SPEAKS}")
    write_figure(path, figure, dpi=100 if lines <= 2 else 60)
