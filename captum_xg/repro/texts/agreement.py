"""Rank correlation of attributions of words with known valences, and its interval over words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate
from captum_xg.benchmark.bootstrap import estimate

RESAMPLES, SEED = 1000, 0


def spearman(x: Tensor, y: Tensor, counts: Tensor | None = None) -> Tensor:
    r"""Return Spearman's rank correlation, tied values sharing their mean rank.

    .. math:: \rho = \mathrm{corr}\big(r(x), r(y)\big), \qquad
        r_i = \sum_{j:\,x_j < x_i} c_j + \tfrac12 \Big(1 + \sum_{j:\,x_j = x_i} c_j\Big)

    Args:
        x: Shape ``(W,)``.
        y: Likewise.
        counts: How often each pair is there, c, shape ``(B, W)``: a resample in each row. Once each if None.

    Returns:
        Shape ``(B,)``, or a scalar without ``counts``; NaN where all values of one are equal.
    """
    given = torch.ones(1, len(x)) if counts is None else counts
    weights = given.to(torch.float64)
    ranks = [_ranks(each, weights) for each in (x, y)]
    total = weights.sum(1, keepdim=True)
    first, second = (rank - (weights * rank).sum(1, keepdim=True) / total for rank in ranks)
    covariance = (weights * first * second).sum(1)
    variances = (weights * first.square()).sum(1) * (weights * second.square()).sum(1)
    found = covariance / variances.sqrt()
    return found[0] if counts is None else found


def _ranks(values: Tensor, weights: Tensor) -> Tensor:
    """Return the ranks ``(B, W)`` of values ``(W,)`` that are there so many times, without sorting each resample."""
    distinct, group = torch.unique(values, return_inverse=True)
    sizes = torch.zeros(len(weights), len(distinct), dtype=torch.float64)
    sizes.index_add_(1, group, weights)
    return (sizes.cumsum(1) - sizes + (sizes + 1) / 2)[:, group]


def resampled(attributions: Mapping[str, Sequence[Tensor]], valences: Tensor) -> dict[str, Tensor]:
    """Return for each method the mean over trainings of its rank correlation with the valences, for many resamples.

    Words are resampled for all methods and trainings together, so that differences are paired.

    Args:
        attributions: Method → one tensor ``(W,)`` for each training.
        valences: Shape ``(W,)``.

    Returns:
        Tensors ``(1 + B,)``: of the words as they are, and of B resamples.
    """
    n = len(valences)
    drawn = torch.randint(n, (RESAMPLES, n), generator=torch.Generator().manual_seed(SEED))
    counts = torch.zeros(RESAMPLES, n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(drawn.shape).double())
    counts = torch.cat([torch.ones(1, n, dtype=torch.float64), counts])
    return {
        method: torch.stack([spearman(each, valences, counts) for each in trainings]).mean(0)
        for method, trainings in attributions.items()
    }


def with_interval(values: Tensor) -> Estimate:
    """Return the first of ``(1 + B,)`` values with the interval that the others give."""
    return estimate(float(values[0]), values[1:])
