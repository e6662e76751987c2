"""What the trainings say together: which λ is chosen, means with intervals, paired differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from captum_xg.errors import OptionError
from captum_xg.repro.decoy_protocol import Method
from captum_xg.repro.decoy_store import Run


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval by Student's t.

    Attributes:
        mean: Of n values.
        low: Lower end of the interval of the mean.
        high: Upper end.
        n: How many values, at least 2.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def reach(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def estimate(values: Sequence[float]) -> Estimate:
    r"""Return mean and 95 % interval of at least two values, taken as independent and normal.

    .. math:: \bar v \pm t_{0.975,\,n-1}\, s / \sqrt n
    """
    n, mean = len(values), statistics.fmean(values)
    reach = t_quantile(n - 1) * statistics.stdev(values) / math.sqrt(n)
    return Estimate(mean, mean - reach, mean + reach, n)


def difference(these: Sequence[float], others: Sequence[float]) -> Estimate:
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


def choose(grid: Mapping[float, Sequence[Run]], score: Callable[[Run], float]) -> float:
    """Return the λ with the largest mean score over its trainings, of equals the smallest.

    Raises:
        OptionError: If for each λ some training diverged.
    """
    means = {weight: statistics.fmean([score(run) for run in runs]) for weight, runs in grid.items()}
    best = max(means.values())
    if best == -math.inf:
        key = next(iter(grid.values()))[0].method
        raise OptionError(f"{key}: training diverged for every λ in {sorted(grid)}. Give smaller --weights.")
    return min(weight for weight, mean in means.items() if mean == best)


@dataclass(frozen=True)
class Outcome:
    """All trainings of one method.

    Attributes:
        method: Which.
        weight: λ, chosen on validation images with random decoys; 0 without a prior.
        runs: The trainings to report, one for each seed, with that λ.
        grid: Those that λ was chosen with, by λ; empty without a prior.
        seconds: Of one step; the shortest of several.
    """

    method: Method
    weight: float
    runs: tuple[Run, ...]
    grid: Mapping[float, Sequence[Run]]
    seconds: float

    def values(self, score: str) -> list[float]:
        """Return a score of each seed.

        Raises:
            OptionError: If a training diverged, so that there is no mean over all of them.
        """
        return scores(self.runs, score)

    @property
    def at_the_edge(self) -> bool:
        """Whether the chosen λ is the smallest or largest one tried, so that a better one may lie outside."""
        return len(self.grid) > 1 and self.weight in (min(self.grid), max(self.grid))

    @property
    def confounded_weight(self) -> float:
        """The λ that validation images with decoys as in training would choose."""
        return choose(self.grid, lambda run: run.confounded)


def scores(runs: Sequence[Run], score: str) -> list[float]:
    """Return a score of each training.

    Raises:
        OptionError: If one diverged.
    """
    found = []
    for run in runs:
        if run.scores is None:
            raise OptionError(
                f"{run.method}, λ = {run.weight:g}, seed {run.seed}: training diverged, so that there is no mean over "
                "all seeds. Give smaller --weights or --learning-rate, and another --output."
            )
        found.append(run.scores[score])
    return found


def recovered(outcome: Outcome, without: Outcome, clean: Outcome) -> float:
    """Return the share of the accuracy lost to decoys that the prior brings back; 1 is all of it.

    (prior − no prior) / (clean − no prior), of mean test accuracies with the same network.
    """
    prior, none, best = (statistics.fmean(each.values("test")) for each in (outcome, without, clean))
    return (prior - none) / (best - none) if best != none else math.nan
