"""How far α can go from a point until the first condition of a piece changes.

A condition is the sign of a number z that is affine in α near the point; it changes at a distance of −z/z', z' being
its derivative. With q = z'/z that is −1/q: the nearest change on the right is that of the smallest q, and the nearest
one on the left that of the largest, so that two reductions of one quotient find both.

Numbers that stand still, up to rounding, have no change. Rounding would otherwise draw one anywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

_STILL = 64 * torch.finfo(torch.float64).eps
"""z' that are smaller than that, relative to the largest of an operation, are rounding."""
_LOOKED_AT = 2**14
_CACHED = 2**16
"""How many numbers are looked at together, so that a processor reads them from memory once."""


class Bounds:
    """The nearest changes to the left and to the right of points, which are the rows of a batch.

    Args:
        points: How many points there are.
        device: Where they are.
        only: The one point whose tangents are not zero; what depends on another then belongs to no row of its own.
            None if all points move.

    Attributes:
        separate: Whether all conditions that were met belonged to one point each.
        units: How many conditions a point has.
    """

    def __init__(self, points: int, device: torch.device, only: int | None = None) -> None:
        self._points, self._only = points, only
        self._largest = torch.zeros(points, dtype=torch.float64, device=device)
        self._smallest = torch.zeros(points, dtype=torch.float64, device=device)
        self.separate = True
        self.units = 0

    def add(self, values: Tensor, tangents: Tensor) -> None:
        """Take part in the signs of numbers, of any shape that begins with the points."""
        if not values.numel():
            return
        if values.dim() == 0 or values.shape[0] % self._points or values.shape[0] == 0:
            self.separate = self.separate and self._points == 1
            if self._points > 1:
                return
        self.units += values.numel() // self._points
        tangents = tangents.expand(values.shape)
        if self._only is not None and self._points > 1:
            others = torch.ones(self._points, dtype=torch.bool, device=values.device)
            others[self._only] = False
            self.separate = self.separate and not bool((tangents.reshape(self._points, -1)[others] != 0).any())
        still = _STILL * _size(tangents)
        values, tangents = values.reshape(self._points, -1), tangents.reshape(self._points, -1)
        rows = max(_CACHED // values.shape[1], 1) if values.is_cpu else self._points
        found = [
            _extremes(z, dz, still)
            for z, dz in zip(torch.split(values, rows), torch.split(tangents, rows), strict=True)
        ]
        smallest, largest = (torch.cat(parts) for parts in zip(*found, strict=True))
        self._smallest = torch.minimum(self._smallest, smallest)
        self._largest = torch.maximum(self._largest, largest)

    def distances(self) -> tuple[Tensor, Tensor]:
        """Return how far the changes are on the left and on the right, infinity where there is none."""
        # On a change it is not known which of the two pieces the gradient is that autograd gives: it reaches nowhere.
        reach = torch.where(torch.maximum(self._largest, -self._smallest).isinf(), 0.0, torch.inf)
        return torch.minimum((1 / self._largest).abs(), reach), torch.minimum((1 / self._smallest).abs(), reach)


def _extremes(values: Tensor, tangents: Tensor, still: float) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest z'/z of each row, where z' is larger than ``still``."""
    quotient = torch.nn.functional.hardshrink(tangents, still).div_(values)
    smallest, largest = quotient.amin(1), quotient.amax(1)
    if bool(smallest.isnan().any()):  # 0/0: neither moves nor is it anywhere but zero
        quotient = quotient.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
        smallest, largest = quotient.amin(1), quotient.amax(1)
    return smallest, largest


def _size(tangents: Tensor) -> float:
    """Return the size of tangents, from some of them: where it is off by a factor, little changes."""
    flat = tangents.reshape(-1)
    return float(flat[:: max(len(flat) // _LOOKED_AT, 1)].abs().max())
