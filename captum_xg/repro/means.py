"""Means over examples with their interval, and paired differences of such means.

Intervals are bootstrap intervals where there are enough examples. Of two the bootstrap's ends are the two themselves,
and hold the mean in half of all cases instead of 95 %: few examples get an interval by Student's t, which is wide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate
from captum_xg.benchmark.bootstrap import estimate, resample
from captum_xg.repro.estimate import estimate as by_student

RESAMPLES, SEED = 1000, 0
FEW = 10
"""From how many examples on there is a bootstrap interval."""


def mean_over_examples(values: Sequence[float] | Tensor) -> Estimate:
    """Return the mean of one value per example, with its 95 % interval over examples; none of a single one."""
    given = torch.as_tensor(values, dtype=torch.float64)
    if 2 <= len(given) < FEW and bool(torch.isfinite(given).all()):
        found = by_student(given.tolist())
        return Estimate(found.value, found.low, found.high)
    return statistic_of_examples({"": given}, torch.mean, of_mean=True)[""]


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
