"""Numbers of a family of networks, by seed: means over photographs with their interval, paired with the twin's."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from captum_xg._core.estimate import Estimate
from captum_xg.repro.estimate import estimate
from captum_xg.repro.means import mean_over_examples
from captum_xg.repro.restoration.protocol import GREY

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """What came out for a network without biases, and for its twin.

    Attributes:
        key: Of the family, such as ``"dncnn"``.
        xdnns: Quality of the networks without biases, one for each seed.
        twins: Quality of their twins.
        filters: Of the first network without biases, and of its twin.
    """

    key: str
    xdnns: tuple[Values, ...]
    twins: tuple[Values, ...]
    filters: tuple[Values, Values]

    def runs(self, which: str) -> tuple[Values, ...]:
        """Return ``"xdnns"`` or ``"twins"``."""
        return {"xdnns": self.xdnns, "twins": self.twins}[which]

    def ratio(self, which: str, levels: Sequence[int]) -> Estimate:
        """Return the mean signal-to-noise ratio over levels of ``"xdnns"`` or ``"twins"``, in decibels."""
        return over_seeds([_mean(run["psnr"], levels) for run in self.runs(which)])

    def gain(self, levels: Sequence[int]) -> Estimate:
        """Return by how many decibels the networks without biases are better, in pairs of one seed and image."""
        pairs = zip(self.xdnns, self.twins, strict=True)
        return over_seeds([_difference(_mean(x["psnr"], levels), _mean(twin["psnr"], levels)) for x, twin in pairs])

    def noisy(self, level: int) -> float:
        """Return the mean ratio of the noisy images."""
        return statistics.fmean(self.twins[0]["noisy"][str(level)])

    def amount(self, key: str, which: str, level: int) -> float:
        """Return the mean of ``"net_bias"`` or ``"removed"``, in grey levels, of ``"xdnns"`` or ``"twins"``."""
        return statistics.fmean(statistics.fmean(run[key][str(level)]) for run in self.runs(which))

    def net_bias_grows(self, seen: int, unseen: int) -> Estimate:
        """Return by how much the twin's net bias is larger at one level than at another, in grey levels."""
        runs = [run["net_bias"] for run in self.twins]
        return over_seeds([_difference(run[str(unseen)], run[str(seen)]) for run in runs])

    def more_pixels(self, seen: int, unseen: int) -> Estimate:
        """Return how many times more pixels filters average over at one level than at another, as a logarithm to 2."""
        few, many = (torch.tensor(self.filters[0]["pixels"][str(level)]) for level in (seen, unseen))
        return mean_over_examples((many / few).log2())

    def worst(self, which: int, key: str) -> float:
        """Return the largest of the deviations ``"from_ig"`` or ``"from_pixel"``."""
        return float(max(max(each[key]) for each in self.filters[which]["explained"].values()))


def over_seeds(runs: Sequence[Sequence[float]]) -> Estimate:
    """Return the mean of all, with an interval over seeds; over images where there is one network only."""
    if len(runs) == 1:
        return mean_over_examples(runs[0])
    return estimate([statistics.fmean(run) for run in runs])


def peak_of_noise(level: float) -> float:
    """Return the peak signal-to-noise ratio of an image with noise of that level, in decibels."""
    return float(-20 * math.log10(level / GREY))


def _mean(by_level: Mapping[str, Sequence[float]], levels: Sequence[int]) -> list[float]:
    columns = zip(*(by_level[str(level)] for level in levels), strict=True)
    return [statistics.fmean(column) for column in columns]


def _difference(these: Sequence[float], others: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(these, others, strict=True)]
