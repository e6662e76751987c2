"""Means over repetitions with their uncertainty."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from captum_xg._core.estimate import MeanEstimate
from captum_xg.errors import OptionError


def estimate(values: Sequence[float]) -> MeanEstimate:
    r"""Return mean and 95 % interval of at least two values, taken as independent and normal.

    .. math:: \bar v \pm t_{0.975,\,n-1}\, s / \sqrt n
    """
    n, mean = len(values), statistics.fmean(values)
    quantile = t_quantile(n - 1)
    error = statistics.stdev(values) / math.sqrt(n)
    return MeanEstimate(mean, mean - quantile * error, mean + quantile * error, error, n)


def difference(these: Sequence[float], others: Sequence[float]) -> MeanEstimate:
    """Return mean and 95 % interval of the differences of values that belong together."""
    return estimate([a - b for a, b in zip(these, others, strict=True)])


def t_quantile(degrees: int) -> float:
    """Return how far from 0 a t-distributed number is with a probability of 5 %.

    By bisection of the finite series of the distribution function.

    Source: Abramowitz and Stegun 1964, *Handbook of Mathematical Functions*, 26.7.3 and 26.7.4.
    """
    if degrees < 1:
        raise OptionError("An interval of a mean needs at least 2 values. Ask for more --seeds.")
    low, high = 0.0, 13.0  # 12.7 with one degree of freedom, the largest
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < 0.95 else (low, middle)
    return high


def _within(t: float, degrees: int) -> float:
    """Return the probability of a t-distributed number from −t to t."""
    theta = math.atan(t / math.sqrt(degrees))
    cosine = math.cos(theta)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if odd else 2, degrees - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return 2 / math.pi * (theta + math.sin(theta) * total) if odd else math.sin(theta) * total
