"""Means over repetitions with their interval by Student's t."""

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
    """Return the bound that the absolute value of a t-distributed number exceeds with a probability of 5 %.

    Raises:
        OptionError: If there are no degrees of freedom.

    Source: Abramowitz and Stegun 1964, *Handbook of Mathematical Functions*, 26.7.3 and 26.7.4.
    """
    if degrees < 1:
        raise OptionError("An interval of a mean needs at least 2 values. Ask for more --seeds.")
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _inside(middle, degrees) < 0.95 else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _inside(angle: float, degrees: int) -> float:
    """Return the probability that |t| < √degrees · tan(angle): a sum that ends, as degrees are a whole number."""
    odd, cosine = degrees % 2, math.cos(angle)
    term, total = cosine if odd else 1.0, 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= (k - 1) / k * cosine**2
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
