"""Numbers of the experiment from its units: errors and correlations with paired intervals over molecules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate
from captum_xg.repro.means import statistic_of_examples
from captum_xg.repro.molecules.attributions import METHODS
from captum_xg.repro.molecules.measure import correlation, unit_name
from captum_xg.repro.molecules.tasks import LOG_P
from captum_xg.repro.molecules.training import NETWORKS


@dataclass(frozen=True)
class Errors:
    """Of a task.

    Attributes:
        test: How many molecules.
        deviation: Standard deviation of what was to be predicted.
        by_seed: Network → root mean square error of each seed.
        excess: Error without biases / error of the twin − 1, over all seeds, with its interval over molecules.
    """

    test: int
    deviation: float
    by_seed: Mapping[str, tuple[float, ...]]
    excess: Estimate

    def mean(self, network: str) -> tuple[float, float]:
        """Return the mean over seeds and its standard error, NaN for a single seed."""
        return mean_and_error(self.by_seed[network])


@dataclass(frozen=True)
class Results:
    """Everything that was found.

    Attributes:
        errors: Task → errors.
        correlations: Method → Pearson's correlation with the contributions over all atoms, the mean over seeds.
        ranks: Method → the mean of Spearman's within molecules.
        gaps: Complete or not: method → the mean over molecules of |Σ attributions − (F(x) − F(0))|.
        lead: Method → correlation of X-Gradient minus that of the method, paired.
        distance: The largest difference of X-Gradient and IG, of each seed.
        steps: That the twin's IG needs for 1 %, of each molecule and seed; None where those tried are not enough.
    """

    errors: Mapping[str, Errors]
    correlations: Mapping[str, Estimate] = field(default_factory=dict)
    ranks: Mapping[str, Estimate] = field(default_factory=dict)
    gaps: Mapping[str, Estimate] = field(default_factory=dict)
    lead: Mapping[str, Estimate] = field(default_factory=dict)
    distance: tuple[float, ...] = ()
    steps: tuple[float | None, ...] = ()


def results_of(values: Mapping[str, Mapping[str, Any]], tasks: tuple[str, ...], seeds: tuple[int, ...]) -> Results:
    """Return the results from what units came to, by their names."""
    errors = {task: _errors(values, task, seeds) for task in tasks}
    if LOG_P not in tasks:
        return Results(errors)
    of = {network: [values[unit_name(LOG_P, network, seed)] for seed in seeds] for network in NETWORKS}
    sums = {
        method: torch.tensor([unit["moments"][method] for unit in of[network]], dtype=torch.float64).transpose(0, 1)
        for network, methods in METHODS.items()
        for method in methods
    }
    correlations = statistic_of_examples(sums, _mean_correlation)
    ours = METHODS["xgin"][0]
    both = {method: torch.stack([sums[ours], sums[method]], 1) for method in sums if method != ours}
    lead = statistic_of_examples(both, lambda s: _mean_correlation(s[:, 0]) - _mean_correlation(s[:, 1]))
    return Results(
        errors,
        correlations,
        _ranks(of),
        _gaps(of),
        lead,
        tuple(unit["distance"] for unit in of["xgin"]),
        tuple(n for unit in of["gin"] for n in unit["steps"]),
    )


def mean_and_error(numbers: tuple[float, ...]) -> tuple[float, float]:
    """Return the mean of repetitions and its standard error, NaN for a single one."""
    wide = torch.tensor(numbers, dtype=torch.float64)
    return float(wide.mean()), float(wide.std() / math.sqrt(len(numbers))) if len(numbers) > 1 else math.nan


def _errors(values: Mapping[str, Mapping[str, Any]], task: str, seeds: tuple[int, ...]) -> Errors:
    squares: dict[str, Tensor] = {}
    for network in NETWORKS:
        units = [values[unit_name(task, network, seed)] for seed in seeds]
        given, right = (torch.tensor([unit[key] for unit in units], dtype=torch.float64) for key in _KEYS)
        squares[network] = (given - right).square()  # (seeds, n)
    twin, own = (squares[network].mean(0) for network in NETWORKS)
    excess = statistic_of_examples(
        {"": torch.stack([twin, own], 1)}, lambda s: (s[:, 1].mean() / s[:, 0].mean()).sqrt() - 1
    )[""]
    return Errors(
        len(twin),
        float(right[0].std()),
        {network: tuple(each.mean(1).sqrt().tolist()) for network, each in squares.items()},
        excess,
    )


_KEYS = ("predicted", "measured")


def _mean_correlation(sums: Tensor) -> Tensor:
    """Return the mean over seeds of the correlations from sums ``(n, seeds, 6)``."""
    return correlation(sums.transpose(0, 1)).mean()


def _ranks(of: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, Estimate]:
    """Return for each method the mean over molecules, of those in which contributions and attributions vary."""
    found = {}
    for network, methods in METHODS.items():
        for method in methods:
            rows = zip(*(unit["ranks"][method] for unit in of[network]), strict=True)
            means = [_mean([r for r in row if r is not None]) for row in rows]
            kept = torch.tensor([each for each in means if each is not None], dtype=torch.float64)
            found[method] = statistic_of_examples({"": kept}, torch.mean, of_mean=True)[""]
    return found


def _gaps(of: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, Estimate]:
    by_molecule = {
        method: torch.tensor([unit["gaps"][method] for unit in of[network]], dtype=torch.float64).mean(0)
        for network, methods in METHODS.items()
        for method in methods
    }
    return statistic_of_examples(by_molecule, torch.mean, of_mean=True)


def _mean(numbers: list[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None
