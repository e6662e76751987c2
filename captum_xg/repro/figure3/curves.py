"""Curves of Figure 3 from the units: absolute and relative differences over the number of steps, image by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate
from captum_xg.repro.figure3.measure import RULES, STEPS
from captum_xg.repro.means import mean_over_examples

CLOSE = 0.01
"""Convergence: the relative difference to the reference is at most 1 %."""


@dataclass(frozen=True)
class Curves:
    """Differences of one network to one reference.

    Attributes:
        absolute: Rule → mean absolute difference, float64, shape (images, numbers of steps); NaN where Captum takes no
            such number of steps.
        scale: Mean absolute attribution of the reference, shape (images,).
    """

    absolute: Mapping[str, Tensor]
    scale: Tensor

    def __len__(self) -> int:
        return len(self.scale)

    def mean(self, rule: str) -> list[float]:
        """Return the mean absolute difference over images, for each number of steps: what the figure plots."""
        return [float(each) for each in self.absolute[rule].mean(0)]

    def relative(self, rule: str, steps: int) -> Estimate:
        """Return the mean over images of difference / mean absolute attribution."""
        return mean_over_examples(self.relative_values(rule, steps))

    def relative_values(self, rule: str, steps: int) -> Tensor:
        """Return the relative difference of each image."""
        return relative(self.absolute[rule][:, STEPS.index(steps)], self.scale)

    def converged_at(self, rule: str, within: float = CLOSE) -> int | None:
        """Return the smallest n from which on the mean relative difference stays within a bound; None if never."""
        reached = None
        for n in reversed(STEPS):
            if not self.relative(rule, n).value <= within:
                break
            reached = n
        return reached


def relative(difference: Tensor, scale: Tensor) -> Tensor:
    """Return a difference relative to a scale; two zeros do not differ."""
    return torch.where(difference == 0, 0.0, difference / scale)


def curves_of(values: Sequence[Mapping[str, Any]]) -> Curves:
    """Return the curves of distances as units hold them, one entry for each image."""
    absolute = {rule: _tensor([each["rules"][rule] for each in values]) for rule in RULES}
    return Curves(absolute, torch.tensor([each["scale"] for each in values], dtype=torch.float64))


def _tensor(rows: Sequence[Sequence[float | None]]) -> Tensor:
    wide = [[math.nan if value is None else value for value in row] for row in rows]
    return torch.tensor(wide, dtype=torch.float64)
