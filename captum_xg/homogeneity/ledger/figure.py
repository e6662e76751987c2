"""The picture of a ledger: what inputs and constants carry of the prediction, as bars that add up to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from captum_xg._core.figures import (
    characters_in,
    inches_of,
    lay_out,
    legend_below,
    new_figure,
    shortened,
    width_around,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_COLOURS = {"inputs": "#0072b2", "constant": "#d55e00", "unexplained": "#8a8a8a"}
_MEANING = {
    "inputs": "inputs, Σ x·∂F/∂x",
    "constant": "constants added in the model",
    "unexplained": "unexplained by both",
}
_NAMES, _TEXT, _TITLE = 9.5, 9.0, 10.5
_LONGEST_NAME = 64
_ROOM_FOR_A_LEGEND = 4.5
_BARS = 5.5
"""Inches for the bars, whatever the names take."""


class Part(NamedTuple):
    """One of the parts that add up to F(x).

    Attributes:
        name: What it is called.
        type: The class of the module that adds it, ``""`` if there is none.
        detail: What stands behind the name in a table.
        kind: ``"inputs"``, ``"constant"`` or ``"unexplained"``.
        part: What it carries, per example.
        size: Its absolute value, or the sum of those that it joins, per example.
        share: Of all absolute parts, per example.
    """

    name: str
    type: str
    detail: str
    kind: str
    part: Tensor
    size: Tensor
    share: Tensor


def draw_parts(bars: list[Part], values: Tensor, title: str, ax: Axes | None) -> Axes:
    """Draw parts as bars that add up to the mean of F(x), ``values``."""
    names = [f"{bar.name} ({bar.type})" if bar.type else bar.name for bar in bars]
    if ax is None:
        names = shortened(names, _LONGEST_NAME)
        room = max(inches_of(max(map(len, names)), _NAMES), 1.0)
        own = new_figure(room + _BARS + 1.3, 0.27 * len(bars) + 1.8)
        axes = own.add_subplot()
        _draw_bars(axes, bars, names, values)
        axes.set_xlabel(wrapped(_meaning_of_bars(values), _BARS, 10.0))
        own.suptitle(wrapped(title, room + _BARS, _TITLE), fontsize=_TITLE, x=0.01, horizontalalignment="left")
        handles = _handles(axes, bars)
        legend_below(own, handles, [str(handle.get_label()) for handle in handles])
        return axes
    # The figure is the caller's, as wide as it is: what is too long for it is shortened or wrapped.
    _draw_bars(ax, bars, shortened(names, characters_in(0.4 * width_around(ax), _NAMES)), values)
    lay_out(ax)
    width = width_around(ax)
    if width > _ROOM_FOR_A_LEGEND:
        ax.legend(handles=_handles(ax, bars), fontsize=8.5, loc="best", framealpha=0.8)
    ax.set_title(wrapped(title, width, _TITLE), fontsize=_TITLE)
    ax.set_xlabel(wrapped(_meaning_of_bars(values), width, 10.0))
    lay_out(ax)
    return ax


def _draw_bars(ax: Axes, bars: list[Part], names: list[str], values: Tensor) -> None:
    for position, bar in enumerate(bars):
        part = bar.part.double().cpu()
        ax.barh(position, float(part.mean()), color=_COLOURS[bar.kind], height=0.75)
        if len(part) > 1:
            low, high = torch.quantile(part, torch.tensor([0.1, 0.9], dtype=torch.float64)).tolist()
            ax.plot([low, high], [position, position], color="black", linewidth=1)
    ax.axvline(0, color="black", linewidth=0.8)
    total = float(values.mean())
    ax.axvline(total, color="black", linewidth=1, linestyle="--", label="F(x), the sum of all bars")
    if not any(bool(bar.part.any()) for bar in bars):
        ax.set_xlim(-1, 1)  # rather than a few hundredths, which suggest numbers
    ax.set_yticks(range(len(bars)), names, fontsize=_NAMES)
    ax.set_ylabel("parts of F(x), in order of execution" if len(bars) > 4 else "parts of F(x)", fontsize=_TEXT)
    ax.set_ylim(len(bars) - 0.4, -0.6)  # the input on top
    _shares(ax, bars)


def _shares(ax: Axes, bars: list[Part]) -> None:
    """Write each part's share on the right, outside of the axes, where no bar is in the way."""
    right = ax.secondary_yaxis("right")
    right.set_yticks(range(len(bars)), [f"{float(bar.share.mean()):.1%}" for bar in bars], fontsize=_NAMES)
    right.tick_params(length=0)
    right.set_ylabel("mean share of\nall absolute parts", fontsize=8.5)


def _meaning_of_bars(values: Tensor) -> str:
    n = len(values)
    over = "mean " if n > 1 else ""
    lines = f"\n(means over {n} examples; thin lines: where 80% of them lie)" if n > 1 else ""
    return f"{over}contribution to the output; dashed: F(x) = {float(values.mean()):.4g}{lines}"


def _handles(ax: Axes, bars: list[Part]) -> list[Artist]:
    from matplotlib.patches import Patch

    kinds = {bar.kind for bar in bars}
    lines, _ = ax.get_legend_handles_labels()
    return [*(Patch(color=_COLOURS[kind], label=_MEANING[kind]) for kind in _COLOURS if kind in kinds), *lines]
