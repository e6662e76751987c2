"""Attributions in 16 bits: numbers beside a power of two for each example and target, so that small ones are not lost.

Attributions of 1e-9 would be zero in float16, whose smallest number is 6e-8. Divided by a power of two, which rounds
nothing, the largest of each example lies just below the end of float16's range; what is 2²⁸ times smaller still has all
of its 11 binary digits. As scales are numbers of float32, that ends at 1e-30, and below 1e-38 all may be zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TOP = 15
"""Stored numbers are below 2¹⁵, a factor of 2 from the end of float16."""
_LEAST, _MOST = -100, 140
"""Exponents of the largest attribution between which scales are numbers of float32."""


def packed(attributions: Tensor) -> tuple[Tensor, Tensor]:
    """Return attributions ``(N, K, …)`` as float16, and float32 scales ``(N, K)``, powers of two, that multiply them.

    Args:
        attributions: Finite floating-point numbers.
    """
    flat = attributions.flatten(2) if attributions.dim() > 2 else attributions.unsqueeze(2)
    largest = flat.abs().amax(2) if flat.shape[2] else flat.new_zeros(flat.shape[:2])
    exponents = torch.frexp(largest)[1].clamp(_LEAST, _MOST) - _TOP
    exponents = torch.where(largest > 0, exponents, torch.zeros_like(exponents))
    ones = torch.ones_like(largest, dtype=torch.float64)
    shrink = torch.ldexp(ones, -exponents).to(attributions.dtype)
    stored = (attributions * _beside(shrink, attributions)).to(torch.float16)
    return stored, torch.ldexp(ones, exponents).to(torch.float32)


def unpacked(stored: Tensor, scales: Tensor | None) -> Tensor:
    """Return what was stored, ``(N, K, …)``: float32, or float64 where that was kept; memory of its own."""
    if stored.dtype == torch.float64:
        return stored.clone()
    numbers = stored.to(torch.float32, copy=True)
    return numbers if scales is None else numbers.mul_(_beside(scales, numbers))


def _beside(factors: Tensor, numbers: Tensor) -> Tensor:
    return factors.reshape(*factors.shape, *[1] * (numbers.dim() - factors.dim()))
