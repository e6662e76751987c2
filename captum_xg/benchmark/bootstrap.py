"""How sure a benchmark's numbers are: percentile intervals from resampled examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Hashable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate

Key = TypeVar("Key", bound=Hashable)
Aggregate = Callable[[Tensor], Tensor]

_ENTRIES = 4_000_000
"""Numbers held at once: 32 MB."""


def estimate(value: float, resampled: Tensor) -> Estimate:
    """Return a number with the interval that its resampled values, shape ``(B,)``, give."""
    if resampled.numel() == 0 or not bool(torch.isfinite(resampled).all()):
        return Estimate(value, math.nan, math.nan)
    low, high = torch.quantile(resampled, torch.tensor([0.025, 0.975], dtype=resampled.dtype)).tolist()
    return Estimate(value, low, high)


def resample(
    scores: Mapping[Key, Tensor],
    aggregates: Mapping[Key, Aggregate],
    *,
    resamples: int,
    seed: int,
    of_mean: Container[Key] = (),
) -> dict[Key, Tensor]:
    """Return what each aggregate gives for examples drawn with replacement.

    All entries see the same resamples, so differences of two of them are paired.

    Args:
        scores: Per example, shape ``(N,)`` or ``(N, …)``, with one N.
        aggregates: From scores of any number of examples to a scalar.
        resamples: How many, B.
        seed: Of the draws.
        of_mean: Those whose aggregate depends on the mean over examples only, which is much faster.

    Returns:
        Tensors of shape ``(B,)``, float64; ``(0,)`` if N < 2.

    Source: Efron and Tibshirani 1993, *An Introduction to the Bootstrap*, 13.3 (percentile interval).
    """
    wide = {key: each.detach().cpu().double() for key, each in scores.items()}
    n = len(next(iter(wide.values()))) if wide else 0
    if n < 2:
        return {key: torch.empty(0, dtype=torch.float64) for key in wide}
    generator = torch.Generator().manual_seed(seed)
    # Means are made by multiplying with counts, and 0 times NaN is not "left out".
    by_counts = {key for key, each in wide.items() if key in of_mean and bool(torch.isfinite(each).all())}
    parts: dict[Key, list[Tensor]] = {key: [] for key in wide}
    rows = max(1, _ENTRIES // n)
    for start in range(0, resamples, rows):
        drawn = torch.randint(n, (min(rows, resamples - start), n), generator=generator)
        counts = torch.zeros(drawn.shape, dtype=torch.float64)
        counts.scatter_add_(1, drawn, torch.ones_like(counts))
        for key, each in wide.items():
            if key in by_counts:
                means = (counts @ each.reshape(n, -1) / n).reshape(-1, 1, *each.shape[1:])
                parts[key].append(_each(aggregates[key], means))
            else:
                fewer = max(1, _ENTRIES // each.numel())
                parts[key] += [_each(aggregates[key], each[some]) for some in torch.split(drawn, fewer)]
    return {key: torch.cat(found) for key, found in parts.items()}


def _each(aggregate: Aggregate, samples: Tensor) -> Tensor:
    """Return the aggregate of each sample, samples of shape ``(B, N, …)``."""
    try:
        result = torch.vmap(aggregate)(samples)
    except RuntimeError:  # it looks at numbers, which many at once do not allow
        result = torch.stack([aggregate(sample) for sample in samples])
    return result.detach().double().reshape(len(samples))
