"""The two sums of Euler's identity: Σ x·∂F, and Σ|x·∂F| beside it, which is the yardstick for rounding."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def euler_sums(terms: Iterable[Tensor], n: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ x·∂F and Σ|x·∂F| for each of n examples, in the dtype and on the device of another tensor.

    The second is the size of the terms that F is a sum of, also where they nearly cancel.

    Args:
        terms: x·∂F for each input, of shape ``(n, …)``; a generator, so that one is freed before the next is made.
        n: How many examples.
        like: What the sums are to be added to.
    """
    total = torch.zeros(n, dtype=like.dtype, device=like.device)
    size = torch.zeros_like(total)
    for each in terms:
        rows = each.detach().reshape(n, -1)
        total = total + rows.sum(1).to(total)
        size = size + torch.linalg.vector_norm(rows, 1, dim=1).to(size)
    return total, size


def summed_terms(terms: Iterable[Tensor]) -> tuple[float, float]:
    """Return the same over all examples together, in float64."""
    zero = torch.zeros((), dtype=torch.float64)
    total, size = euler_sums((each.double() for each in terms), 1, zero)
    return float(total), float(size)
