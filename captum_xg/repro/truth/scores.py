"""How near attributions are to the truth: error, correlations, and the share in the true region, per input."""

from __future__ import annotations

import torch
from torch import Tensor

_TIED = 1e-9
"""Attributions that differ by less, relative to the largest, are equal: ranks must not be made of rounding."""


def relative_error(found: Tensor, truth: Tensor) -> Tensor:
    """Return Σ|found − truth| / Σ|truth|, shape ``(N,)``."""
    return (found - truth).abs().sum(1) / truth.abs().sum(1)


def correlation(found: Tensor, truth: Tensor) -> Tensor:
    """Return Pearson's correlation over groups, ``(N,)``; 0 where all are equal, which orders nothing."""
    a, b = (each - each.mean(1, keepdim=True) for each in (_rounded(found), _rounded(truth)))
    length = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(length > 0, (a * b).sum(1) / length.clamp(min=torch.finfo(a.dtype).tiny), 0.0)


def rank_correlation(found: Tensor, truth: Tensor) -> Tensor:
    """Return Spearman's correlation over groups, ``(N,)``, equal ones sharing their ranks."""
    return correlation(ranks(found), ranks(truth))


def share(attributions: Tensor, region: Tensor) -> Tensor:
    """Return which share of absolute attributions is in the region, ``(N,)``; 0 where there are none."""
    flat = attributions.abs()
    total = flat.sum(1)
    return torch.where(total > 0, (flat * region).sum(1) / total.clamp(min=torch.finfo(flat.dtype).tiny), 0.0)


def ranks(values: Tensor) -> Tensor:
    """Return the mean rank of each value in its row."""
    rounded = _rounded(values)
    ordered = rounded.sort(1).values
    low, high = (torch.searchsorted(ordered, rounded, right=right) for right in (False, True))
    return (low + high).double() / 2


def _rounded(values: Tensor) -> Tensor:
    largest = values.abs().amax(1, keepdim=True)
    unit = torch.where(largest > 0, largest, torch.ones_like(largest)) * _TIED
    return (values / unit).round() * unit
