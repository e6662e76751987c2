"""Mean maps: where the attributions of a class lie on average."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from captum_xg._core.options import one_of
from captum_xg._core.text import Table, displayed
from captum_xg.analysis.pooling import lengthened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from captum_xg.analysis.reading import Part


@displayed
@dataclass(frozen=True)
class MeanMaps:
    r"""The mean maps of each class; all are means over its examples, in float64.

    .. math:: \bar A_i = \frac1n \sum_x A_i(x), \qquad \overline{|A|}_i = \frac1n \sum_x |A_i(x)|, \qquad
              \bar s_i = \frac1m \sum_x \frac{|A_i(x)|}{\sum_j |A_j(x)|}

    Attributes:
        names: Of the G classes.
        counts: n, how many examples each has, ``(G,)``.
        empty: How many of them have no attribution at all, ``(G,)``; m = n − empty.
        mean: Ā, ``(G, *S)``, in units of the output.
        absolute: The mean of the absolute values, ``(G, *S)``, in units of the output.
        share: s̄, ``(G, *S)``; sums to 1 over a map, or is 0 where all examples of a class are empty.
    """

    names: tuple[str, ...]
    counts: Tensor
    empty: Tensor
    mean: Tensor
    absolute: Tensor
    share: Tensor

    def _parts(self) -> list[str | Table]:
        rows = [("class", "examples", "mean sum", "mean |sum|", "half of |A| is in")]
        places = prod(self.share.shape[1:])
        for i, name in enumerate(self.names):
            net, size = float(self.mean[i].sum()), float(self.absolute[i].sum())
            rows.append((name, f"{int(self.counts[i]):,}", f"{net:.4g}", f"{size:.4g}", _half(self.share[i], places)))
        return [
            f"Mean maps of {len(self.names)} classes, {'×'.join(map(str, self.mean.shape[1:]))} places",
            Table(rows),
        ]

    def plot(self, of: Literal["mean", "absolute", "share"] = "mean") -> Figure:
        """Return a figure with a map of each class, all with one scale of colours.

        Args:
            of: Which of the means.

        Raises:
            OptionError: If there is no such mean.
        """
        from captum_xg.analysis.figure import draw_maps

        kind = one_of(of, ("mean", "absolute", "share"), "of", "MeanMaps.plot")
        titles = [f"{name} ({int(n):,})" for name, n in zip(self.names, self.counts, strict=True)]
        label = {"mean": "mean attribution", "absolute": "mean |attribution|", "share": "mean share of |attribution|"}
        return draw_maps(getattr(self, kind), titles, label[kind], signed=kind == "mean")


@dataclass
class MapSums:
    """Sums of maps by group, gathered part by part.

    Attributes:
        names: Of the groups.
        index: The group of each example of the folder; −1 for none.
    """

    names: tuple[str, ...]
    index: Tensor
    counts: Tensor = field(init=False)
    _sums: dict[str, Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = torch.zeros(len(self.names), dtype=torch.int64)
        self.empty = torch.zeros(len(self.names), dtype=torch.int64)

    def add(self, part: Part) -> None:
        """Add some examples."""
        group = self.index[part.rows]
        inside = group >= 0
        group, total = group[inside], part.total[inside]
        self.counts += group.bincount(minlength=len(self.names))
        self.empty += group[total == 0].bincount(minlength=len(self.names))
        for name, own in (("mean", part.signed), ("absolute", part.absolute), ("share", part.shares())):
            sums = self._sums.get(name, torch.zeros(len(self.names), *own.shape[1:], dtype=torch.float64))
            maps = own[inside]
            if part.tokens is not None:  # texts may have another length in each part
                sums, maps = lengthened(sums, own.shape[1]), lengthened(maps, sums.shape[1])
            # One after the other, so that batches do not matter.
            self._sums[name] = sums.index_add_(0, group, maps)

    def means(self) -> MeanMaps:
        """Return what all came to."""
        mean, absolute, share = (self._sums[name] for name in ("mean", "absolute", "share"))
        beside = (-1, *[1] * (mean.dim() - 1))
        n = self.counts.clamp_min(1).reshape(beside)
        shown = (self.counts - self.empty).clamp_min(1).reshape(beside)
        return MeanMaps(self.names, self.counts, self.empty, mean / n, absolute / n, share / shown)


def _half(share: Tensor, places: int) -> str:
    """Return how few places have half of the attribution, of how many."""
    if not bool(share.any()):
        return "—"
    ordered = share.flatten().sort(descending=True).values.cumsum(0)
    needed = int((ordered < 0.5 * float(ordered[-1])).sum()) + 1
    return f"{needed:,} of {places:,} places"
