"""Means over examples with their bootstrap interval, and paired differences of such means."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate
from captum_xg.benchmark.bootstrap import estimate, resample

RESAMPLES, SEED = 1000, 0


def mean_over_examples(values: Sequence[float] | Tensor) -> Estimate:
    """Return the mean of one value per example, with its 95 % interval over resampled examples."""
    return statistic_of_examples({"": torch.as_tensor(values, dtype=torch.float64)}, torch.mean, of_mean=True)[""]


def statistic_of_examples(
    values: dict[str, Tensor], aggregate: Callable[[Tensor], Tensor], *, of_mean: bool = False
) -> dict[str, Estimate]:
    """Return what an aggregate makes of each entry, with its interval; all entries see the same resamples.

    Args:
        values: Per example, shape ``(N,)`` or ``(N, …)``, with one N.
        aggregate: From values of any number of examples to a scalar.
        of_mean: Whether it depends on the mean over examples only.
    """
    wide = {name: each.double() for name, each in values.items()}
    aggregates = dict.fromkeys(wide, aggregate)
    resampled = resample(wide, aggregates, resamples=RESAMPLES, seed=SEED, of_mean=wide if of_mean else ())
    return {name: estimate(float(aggregate(each)), resampled[name]) for name, each in wide.items()}
