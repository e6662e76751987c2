"""The picture of a ledger: what inputs and constants carry of the prediction, as bars that add up to it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from captum_xg.homogeneity.ledger import BiasLedger

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"inputs": "#2c6fbb", "constant": "#d9822b", "unexplained": "#8a8a8a"}
_MEANING = {
    "inputs": "inputs, Σ x·∂F/∂x",
    "constant": "constants added in the model",
    "unexplained": "unexplained by both",
}


class _Bar(NamedTuple):
    name: str
    kind: str
    part: Tensor
    share: Tensor


def draw_ledger(ledger: BiasLedger, ax: Axes | None, most: int) -> Axes:
    """Draw the ledger; see :meth:`captum_xg.homogeneity.ledger.BiasLedger.plot`."""
    shown, others = ledger.largest_rows(most)
    bars = [_Bar("inputs", "inputs", ledger.input_part, ledger.share_of(ledger.input_part))]
    for row in shown:
        name = f"{row.name} ({row.type})" if row.type else row.name
        bars.append(_Bar(name, "constant", row.contributions, ledger.share_of(row.contributions)))
    if others:
        rest = torch.stack([row.contributions for row in others])
        bars.append(_Bar(f"{len(others)} more constants", "constant", rest.sum(0), ledger.share_of(rest.abs().sum(0))))
    if not ledger.exact:
        bars.append(_Bar("remainder", "unexplained", ledger.remainder, ledger.share_of(ledger.remainder)))
    if ax is None:
        ax = _new_axes(len(bars))
    n = len(ledger.values)
    for position, bar in enumerate(bars):
        part = bar.part.double().cpu()
        ax.barh(position, float(part.mean()), color=_COLOURS[bar.kind], height=0.75)
        if n > 1:
            low, high = torch.quantile(part, torch.tensor([0.1, 0.9], dtype=torch.float64)).tolist()
            ax.plot([low, high], [position, position], color="black", linewidth=1)
    total = float(ledger.values.mean())
    ax.axvline(0, color="black", linewidth=0.8)
    ax.axvline(total, color="black", linewidth=1, linestyle="--", label="F(x), the sum of all bars")
    ax.set_yticks(range(len(bars)), [bar.name for bar in bars])
    ax.invert_yaxis()  # the input on top, then in order of execution
    ax.set_ylim(len(bars) - 0.4, -0.6)
    _shares(ax, bars)
    ax.set_title(_title(ledger), fontsize=10.5, loc="left")
    over = f", means over {n} examples\n(thin lines: where 80% of the examples lie)" if n > 1 else ""
    ax.set_xlabel(f"contribution to F(x) = {total:.4g}{over}")
    _legend(ax, {bar.kind for bar in bars})
    return ax


def _new_axes(bars: int) -> Axes:
    # Not through pyplot, whose state and backend belong to the caller.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 0.27 * bars + 1.9), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _shares(ax: Axes, bars: list[_Bar]) -> None:
    """Write each part's share on the right, outside of the axes, where no bar is in the way."""
    right = ax.secondary_yaxis("right")
    right.set_yticks(range(len(bars)), [f"{float(bar.share.mean()):.1%}" for bar in bars])
    right.tick_params(length=0)
    right.set_ylabel("share of all absolute parts", fontsize=8.5)


def _title(ledger: BiasLedger) -> str:
    sentences = [ledger.headline()]
    if not ledger.exact:
        sentences.append("Not only added constants break F(αx) = αF(x): see the remainder")
    return "\n".join(line for sentence in sentences for line in textwrap.wrap(sentence, 76))


def _legend(ax: Axes, kinds: set[str]) -> None:
    from matplotlib.patches import Patch

    lines, _ = ax.get_legend_handles_labels()
    handles = [Patch(color=_COLOURS[kind], label=_MEANING[kind]) for kind in _COLOURS if kind in kinds]
    ax.legend(handles=[*handles, *lines], fontsize=8.5, loc="best", framealpha=0.9)
