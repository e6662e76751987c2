"""Maps as short vectors: absolute attributions, each example's divided by their sum, on a coarse grid."""

from __future__ import annotations

import torch
from torch import Tensor


def lengthened(maps: Tensor, length: int) -> Tensor:
    """Return maps of texts ``(n, T, …)`` with zeros behind them, up to ``length`` places; longer ones as they are."""
    if maps.shape[1] >= length:
        return maps
    return torch.cat([maps, maps.new_zeros(len(maps), length - maps.shape[1], *maps.shape[2:])], 1)


def pooled(shares: Tensor, side: int) -> Tensor:
    """Return maps ``(n, *S)`` summed over the cells of a grid, ``(n, cells)``, float32; the sums of maps are kept.

    Two dimensions become at most ``side`` × ``side`` cells, one becomes at most ``side``² cells, more are all at most
    ``side`` cells. Place i of L is in cell ⌊i · cells / L⌋.
    """
    most = side * side if shares.dim() == 2 else side
    for dim in range(1, shares.dim()):
        length = shares.shape[dim]
        cells = min(length, most)
        place = torch.arange(length) * cells // length
        shape = [*shares.shape[:dim], cells, *shares.shape[dim + 1 :]]
        shares = shares.new_zeros(shape).index_add_(dim, place, shares)
    return shares.flatten(1).float()
