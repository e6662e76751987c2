"""What all priors do with numbers: scale them first, so that squares and quotients neither overflow nor vanish."""

from __future__ import annotations

import torch
from torch import Tensor


def peak(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the largest magnitude over some dimensions, which are kept, without a graph, as a number to divide by.

    Dividing by it, whatever its value, changes no function of degree 0 and so none of its derivatives.
    """
    return divisor(values.detach().abs().amax(dims, keepdim=True) if dims else values.detach().abs())


def divisor(largest: Tensor) -> Tensor:
    """Return magnitudes made so large that neither their inverses nor gradients over- or underflow; 1 for 0."""
    clamped = largest.clamp(min=torch.finfo(largest.dtype).tiny * 2**12)
    return torch.where(largest == 0, torch.ones_like(largest), clamped)


def share(part: Tensor, total: Tensor) -> Tensor:
    """Return part / total, and 0 with zero derivatives where the total is 0. What is NaN stays NaN."""
    quotient = part / torch.where(total == 0, torch.ones_like(total), total)
    return torch.where(total == 0, torch.zeros_like(quotient), quotient)


def root_of_sum(total: Tensor, power: float) -> Tensor:
    """Return total^(1/power), and 0 with zero derivatives where the total is 0, for an infinite slope is no use."""
    safe = torch.where(total == 0, torch.ones_like(total), total)
    root = safe.sqrt() if power == 2 else safe.pow(1 / power)
    return torch.where(total == 0, torch.zeros_like(total), root)


def feature_dims(values: Tensor) -> tuple[int, ...]:
    """Return all dimensions but that of the examples."""
    return tuple(range(1, values.dim()))
