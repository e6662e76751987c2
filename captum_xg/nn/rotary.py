"""Rotary positions: pairs of numbers, turned by angles proportional to the position of their token."""

from __future__ import annotations

import torch
from torch import Tensor

_BASE = 10000.0


def rotated(x: Tensor) -> Tensor:
    r"""Return each token turned by its position: an orthogonal map, so that norms stay and products tell distances.

    .. math:: (x_i, x_{i+d/2}) \mapsto
        (x_i \cos t\theta_i - x_{i+d/2} \sin t\theta_i, \; x_i \sin t\theta_i + x_{i+d/2} \cos t\theta_i)

    at position t = 0, 1, …, with :math:`\theta_i = 10000^{-2i/d}`.

    Args:
        x: ``(…, T, d)``, d even.

    Source: Su et al. 2021, *RoFormer: Enhanced Transformer with Rotary Position Embedding*, Section 3.2.2.
    """
    length, d = x.shape[-2:]
    # In float32 at least: half precision cannot tell the positions of a long text apart.
    dtype = torch.promote_types(x.dtype, torch.float32)
    half = torch.arange(0, d, 2, dtype=dtype, device=x.device)
    angle = torch.arange(length, dtype=dtype, device=x.device)[:, None] * _BASE ** (-half / d)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
