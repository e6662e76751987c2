"""Numbers with the interval in which they are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from captum_xg._core.text import displayed


@displayed
@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % bootstrap interval.

    Attributes:
        value: From all examples.
        low: 2.5 % quantile over resamples; NaN for a single example, which says nothing of others.
        high: 97.5 % quantile.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return self.low > 0 or self.high < 0

    @property
    def reach(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def formatted(self, spec: str = ".4g") -> str:
        """Return ``value [low, high]`` in a format such as ``.4g`` or ``+.4f``, the value alone without an interval."""
        interval = "" if math.isnan(self.low) else f" [{self.low:{spec}}, {self.high:{spec}}]"
        return f"{self.value:{spec}}{interval}"


@displayed
@dataclass(frozen=True)
class MeanEstimate(Estimate):
    """A mean with its 95 % interval by Student's t.

    Attributes:
        value: The mean of n values.
        low: Lower end of the interval of the mean.
        high: Upper end.
        standard_error: Of the mean.
        n: How many values, at least 2.
    """

    standard_error: float
    n: int

    @property
    def mean(self) -> float:
        """The mean, as ``value``."""
        return self.value

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.standard_error:.4f}  [{self.low:.4f}, {self.high:.4f}]"

    def signed(self) -> str:
        """Return mean and interval of a difference, with signs."""
        return self.formatted("+.4f")

    def to_dict(self) -> dict[str, float]:
        """Return all numbers by name, as they stand in files of results."""
        return {
            "mean": self.mean,
            "standard_error": self.standard_error,
            "low": self.low,
            "high": self.high,
            "n": self.n,
        }
