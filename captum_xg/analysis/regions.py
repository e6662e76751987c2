"""Regions that stand out: where, in which class or cluster, by how much; as a mask for a prior."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_xg._core.options import positive_integer
from captum_xg._core.text import Table, displayed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@displayed
@dataclass(frozen=True)
class Region:
    """A box of places that has more of the attributions of one group than of the others.

    Attributes:
        corner: The first place in it, one number for each dimension of a map: (row, column) in images.
        size: How many places it has along each.
        group: The class or cluster that it stands out in most.
        inside: Its share of the attributions there, in [0, 1].
        elsewhere: Its share in the others.
        score: By how much, in nats; see :func:`~captum_xg.analysis.find_regions`.
    """

    corner: tuple[int, ...]
    size: tuple[int, ...]
    group: str
    inside: float
    elsewhere: float
    score: float

    @property
    def slices(self) -> tuple[slice, ...]:
        """What picks its places from a map, as in ``map[region.slices]``."""
        return tuple(slice(first, first + n) for first, n in zip(self.corner, self.size, strict=True))


@displayed
@dataclass(frozen=True)
class Regions:
    """Regions that stand out, those that do so most first.

    Attributes:
        regions: They.
        shape: S, of a map.
        shares: The mean share of the attributions in the group of each region, ``(R, *S)``.
    """

    regions: tuple[Region, ...]
    shape: tuple[int, ...]
    shares: Tensor = field(repr=False)

    def mask(self, most: int = 1) -> Tensor:
        """Return the places of the first regions, bool, of the shape S.

        As the mask of :class:`~captum_xg.RightForRightReasons`, for images ``(N, C, H, W)`` as it is.

        Args:
            most: How many regions.
        """
        mask = torch.zeros(self.shape, dtype=torch.bool)
        for region in self.regions[: positive_integer(most, "most", "Regions.mask")]:
            mask[region.slices] = True
        return mask

    def plot(self, most: int = 10) -> Figure:
        """Return a figure with the map of the group of each of the first regions, and the region framed in it."""
        from captum_xg.analysis.figure import draw_maps

        n = positive_integer(most, "most", "Regions.plot")
        titles = [
            f"{rank}. {region.group}\n{region.inside:.0%}, others {region.elsewhere:.1%}"
            for rank, region in enumerate(self.regions[:n], 1)
        ]
        frames = [region.slices for region in self.regions[:n]]
        return draw_maps(self.shares[:n], titles, "mean share of |attribution|", signed=False, frames=frames)

    def _parts(self) -> list[str | Table]:
        rows = [("", "first place", "size", "stands out in", "share there", "elsewhere", "score")]
        for rank, each in enumerate(self.regions, 1):
            where, size = ", ".join(map(str, each.corner)), "×".join(map(str, each.size))
            shares = f"{each.inside:.1%}", f"{each.elsewhere:.1%}"
            rows.append((f"{rank}", where, size, each.group, *shares, f"{each.score:.3f}"))
        return (
            [f"{len(self.regions)} regions that stand out", Table(rows)] if self.regions else ["No region stands out"]
        )
