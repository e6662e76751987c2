"""Batch norms with running statistics, as the affine maps that they are."""

from __future__ import annotations

import torch
from torch import Tensor


def slope_and_shift(
    mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """Return a = weight/√(variance + eps) and b = bias − mean·a of y = a·x + b, detached, for each channel."""
    with torch.no_grad():
        slope = torch.rsqrt(variance + eps)
        slope = slope if weight is None else slope * weight
        shift = -mean * slope
        return slope.detach(), (shift if bias is None else shift + bias).detach()
