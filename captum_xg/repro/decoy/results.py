"""Outcomes of the decoy experiment: the chosen λ, and how much of the accuracy it brings back."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from captum_xg._core.text import displayed
from captum_xg.errors import OptionError
from captum_xg.repro import experiment
from captum_xg.repro.decoy.protocol import Method
from captum_xg.repro.decoy.store import Run
from captum_xg.repro.experiment import best_strength


def choose(grid: Mapping[float, Sequence[Run]], score: Callable[[Run], float]) -> float:
    """Return the λ with the largest mean score over its trainings, of equals the smallest.

    Raises:
        OptionError: If for each λ some training diverged.
    """
    chosen, best = best_strength(grid, score)
    if best == -math.inf:
        key = next(iter(grid.values()))[0].method
        raise OptionError(f"{key}: training diverged for every λ in {sorted(grid)}. Give smaller --weights.")
    return chosen


@displayed
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
        return bool(experiment.at_the_edge(self.grid, self.weight))

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
