"""Numbers of the units put together: scores by seed, words by method, steps, trainings on decoys at the chosen λ."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate
from captum_xg.repro.experiment import at_the_edge, best_strength
from captum_xg.repro.texts.agreement import resampled, with_interval
from captum_xg.repro.texts.data import Task
from captum_xg.repro.texts.decoys import METHODS, SELECTION_SEED, Method
from captum_xg.repro.texts.explaining import GRADIENT, GRADIENT_X_INPUT, IG, RANDOM, X_GRADIENT, random_attributions
from captum_xg.repro.texts.measure import decoy_name, network_name
from captum_xg.repro.texts.networks import ARCHITECTURES
from captum_xg.repro.texts.settings import Settings
from captum_xg.repro.texts.training import OUTPUTS

RANKED = {
    f"{X_GRADIENT}, degree 1": (X_GRADIENT, True),
    f"{IG}, twin": (IG, False),
    f"{GRADIENT_X_INPUT}, twin": (GRADIENT_X_INPUT, False),
    f"{GRADIENT}, degree 1": (GRADIENT, True),
    f"{GRADIENT}, twin": (GRADIENT, False),
    RANDOM: (RANDOM, True),
}
"""Label → method, and whether its network is of degree 1."""
OURS, INTEGRAL = f"{X_GRADIENT}, degree 1", f"{IG}, twin"
CHANCE = 0.5
"""The accuracy that a training which diverged counts with."""


@dataclass(frozen=True)
class DecoyOutcome:
    """A method on decoys at its chosen λ.

    Attributes:
        method: Which.
        weight: λ.
        edge: "lower" or "upper" if λ is at that edge of the grid.
        test: Accuracy for each seed.
        share: Of the attributions that decoys have, for each seed.
        grid: λ → mean accuracy on validation texts of the trainings that chose it.
        diverged: How many of the reported trainings diverged.
    """

    method: Method
    weight: float
    edge: str
    test: tuple[float, ...]
    share: tuple[float, ...]
    grid: Mapping[float, float]
    diverged: int


@dataclass(frozen=True)
class Results:
    """All numbers.

    Attributes:
        task: What was learnt.
        settings: By which settings.
        units: Name → numbers.
    """

    task: Task
    settings: Settings
    units: Mapping[str, Mapping[str, Any]]

    def of_networks(self, goal: str, architecture: str, *, x: bool) -> list[Mapping[str, Any]]:
        """Return the numbers of a network, for each seed."""
        return [self.units[network_name(goal, architecture, s, x=x)] for s in range(self.settings.seeds)]

    def tests(self, goal: str, architecture: str, score: str, *, x: bool) -> list[float]:
        """Return a score on the test texts for each seed."""
        return [unit["test"][score] for unit in self.of_networks(goal, architecture, x=x)]

    def words(self, goal: str, architecture: str) -> dict[str, list[Tensor]]:
        """Return the attributions of words by method, one tensor for each seed."""
        found: dict[str, list[Tensor]] = {}
        for label, (method, x) in RANKED.items():
            if method == RANDOM:
                # Others for each network, as one draw may be lucky.
                own = [*OUTPUTS].index(goal) * len(ARCHITECTURES) + [*ARCHITECTURES].index(architecture)
                seeds = range(own * self.settings.seeds, (own + 1) * self.settings.seeds)
                found[label] = [random_attributions(len(self.task.words), seed) for seed in seeds]
            else:
                units = self.of_networks(goal, architecture, x=x)
                found[label] = [torch.tensor(unit["words"][method], dtype=torch.float64) for unit in units]
        return found

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], dict[str, Tensor]]:
        return {
            (g, a): resampled(self.words(g, a), self.task.valences) for g in OUTPUTS for a in self.settings.networks
        }

    def ranks(self, goal: str, architecture: str, *, minus: str = "") -> dict[str, Estimate]:
        """Return how each method's words rank beside the known valences, mean over seeds; or minus another method's."""
        return _with_intervals(self._ranks[goal, architecture], minus)

    def ranks_of_all(self, *, minus: str = "") -> dict[str, Estimate]:
        """Return the same, mean over all networks and what they learnt."""
        together = {label: torch.stack([each[label] for each in self._ranks.values()]).mean(0) for label in RANKED}
        return _with_intervals(together, minus)

    def steps(self, goal: str, architecture: str) -> list[int | None]:
        """Return how many steps the twin's integral needs on each text, of all seeds."""
        return [n for unit in self.of_networks(goal, architecture, x=False) for n in unit["steps"]]

    def largest(self, name: str) -> float:
        """Return the largest ``difference`` or ``gap`` of all networks of degree 1."""
        units = [u for goal in OUTPUTS for a in self.settings.networks for u in self.of_networks(goal, a, x=True)]
        return max(float(unit[name]) for unit in units)

    def decoys(self, architecture: str) -> dict[Method, DecoyOutcome]:
        """Return what comes out on decoys by method, each at the λ that other trainings chose on validation texts."""
        return {method: self._decoy(architecture, method) for method in METHODS}

    def _decoy(self, architecture: str, method: Method) -> DecoyOutcome:
        grid = validation_by_weight(self.units, self.settings, architecture, method)
        weight = chosen_weight(self.units, self.settings, architecture, method)
        seeds = range(self.settings.seeds)
        reported = [self.units[decoy_name(architecture, method, weight, seed)] for seed in seeds]
        return DecoyOutcome(
            method,
            weight,
            at_the_edge(grid, weight),
            tuple(run.get("test", CHANCE) for run in reported),
            tuple(run["share"] for run in reported if "share" in run),
            {each: statistics.fmean(runs) for each, runs in grid.items()},
            sum(not run for run in reported),
        )


def validation_by_weight(
    units: Mapping[str, Mapping[str, Any]], settings: Settings, architecture: str, method: Method
) -> dict[float, list[float]]:
    """Return λ → accuracies on validation texts of the trainings that choose it; empty without a prior."""
    if not method.has_prior:
        return {}
    seeds = range(SELECTION_SEED, SELECTION_SEED + settings.selection_seeds)
    names = {weight: [decoy_name(architecture, method, weight, seed) for seed in seeds] for weight in settings.weights}
    return {weight: [float(units[n].get("validation", CHANCE)) for n in some] for weight, some in names.items()}


def chosen_weight(
    units: Mapping[str, Mapping[str, Any]], settings: Settings, architecture: str, method: Method
) -> float:
    """Return λ of the best mean accuracy on validation texts; 0 without a prior."""
    grid = validation_by_weight(units, settings, architecture, method)
    return best_strength(grid, float)[0] if grid else 0.0


def _with_intervals(found: Mapping[str, Tensor], minus: str) -> dict[str, Estimate]:
    reference = found[minus] if minus else torch.zeros(1, dtype=torch.float64)
    return {label: with_interval(values - reference) for label, values in found.items()}
