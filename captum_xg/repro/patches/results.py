"""What all units came to, put together: means over seeds, paired differences, steps, ratios of seconds.

Two kinds of intervals, which say different things: of accuracies over seeds, by Student's t; of steps and seconds over
images or rounds, by the bootstrap, which says nothing of other trainings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate, MeanEstimate
from captum_xg.repro.estimate import difference, estimate
from captum_xg.repro.means import statistic_of_examples
from captum_xg.repro.patches.integration import steps_needed
from captum_xg.repro.patches.networks import TWIN, Network, X
from captum_xg.repro.patches.work import name_of

Values = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Results:
    """The numbers of an experiment.

    Attributes:
        values: Unit → what it came to.
        seeds: How many trainings there are of each network.
    """

    values: Values
    seeds: int

    def trainings(self, network: Network) -> list[Mapping[str, Any]]:
        """Return what the trainings of a network came to, by seed."""
        return [self.values[name_of(network, seed)] for seed in range(self.seeds)]

    def accuracy(self, network: Network) -> MeanEstimate:
        """Return the mean test accuracy in %, over seeds."""
        return estimate(self._percent(network))

    def difference(self) -> MeanEstimate:
        """Return the accuracy of the transformer of degree 1 minus that of its twin, paired by seed, in points."""
        return difference(self._percent(X), self._percent(TWIN))

    def gap(self, these: Network, others: Network) -> MeanEstimate:
        """Return the accuracy of one variant minus that of another, paired by seed, in points."""
        return difference(self._percent(these), self._percent(others))

    def finite(self, network: Network) -> bool:
        """Return whether the losses of all trainings of a network were finite."""
        return all(training["finite"] for training in self.trainings(network))

    def steps(self) -> Tensor:
        """Return the steps that the twin needs, ``(images, seeds)``; infinite where the largest number is too few."""
        columns = []
        for training in self.trainings(TWIN):
            by_image = zip(*training["errors"].values(), strict=True)
            tried = [int(n) for n in training["errors"]]
            needed = [steps_needed(dict(zip(tried, each, strict=True))) for each in by_image]
            columns.append([math.inf if n is None else float(n) for n in needed])
        return torch.tensor(columns, dtype=torch.float64).T

    def median_steps(self) -> Estimate:
        """Return the median over images and trainings of the steps that the twin needs; its interval is over images."""
        return self._quantile(0.5)

    def most_steps(self) -> Estimate:
        """Return the same for the 95 % quantile."""
        return self._quantile(0.95)

    def median_errors(self) -> dict[int, tuple[float, float]]:
        """Return number of steps → the median and the 95 % quantile of the error, over images and trainings."""
        found = {}
        for n in self.trainings(TWIN)[0]["errors"]:
            pooled = torch.tensor([t["errors"][n] for t in self.trainings(TWIN)], dtype=torch.float64).flatten()
            middle, upper = torch.quantile(pooled, torch.tensor([0.5, 0.95], dtype=torch.float64)).tolist()
            found[int(n)] = (middle, upper)
        return found

    def deviation(self) -> float:
        """Return the largest difference of X-Gradient and IG(64), relative to the image's largest attribution."""
        return max(float(value) for training in self.trainings(X) for value in training["deviations"])

    def ratio(self, unit: str, numerator: str) -> Estimate:
        """Return the median over rounds of how many times as long as the plain way another one takes."""
        seconds = self.values[unit]["seconds"]
        ratios = [a / b for a, b in zip(seconds[numerator], seconds["plain"], strict=True)]
        return statistic_of_examples({"": torch.tensor(ratios, dtype=torch.float64)}, torch.median)[""]

    def diverged(self) -> list[str]:
        """Return the names of trainings whose loss became infinite."""
        return [name for name, value in self.values.items() if value.get("finite") is False]

    @property
    def comparison_lost(self) -> bool:
        """Whether one of the trainings of the two networks diverged."""
        return not (self.finite(X) and self.finite(TWIN))

    def _percent(self, network: Network) -> list[float]:
        return [100 * training["test_accuracy"] for training in self.trainings(network)]

    def _quantile(self, q: float) -> Estimate:
        def quantile(steps: Tensor) -> Tensor:
            # An image's steps, not a mean of two: the mean of a number and infinity is neither.
            ordered = steps.flatten().sort().values
            return ordered[math.ceil(q * len(ordered)) - 1]

        steps = self.steps()
        largest = max(int(n) for n in self.trainings(TWIN)[0]["errors"])
        # A number stands for infinity, of which the bootstrap makes no interval; order is all that counts.
        found = statistic_of_examples({"": steps.clamp(max=2.0 * largest)}, quantile)[""]
        ends = (math.inf if end > largest else end for end in (found.value, found.low, found.high))
        return Estimate(*ends)
