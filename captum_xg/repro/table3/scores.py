"""Scores of one network: numbers with intervals and their paired differences, as plain data and back."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from captum_xg._core.estimate import Estimate
from captum_xg.benchmark.result import BenchmarkResult
from captum_xg.repro.table3.maskings import PAPER, metric_name
from captum_xg.repro.table3.printed import METHODS, METRICS

CONTROL = "blurred input"
"""A control that the paper does not have: the image itself, blurred, as an attribution."""
NAMES = {**METHODS, CONTROL: "blurred_input"}
"""Method as in tables → as the benchmark calls it."""


@dataclass(frozen=True)
class Scores:
    """What a benchmark of one network came to.

    Attributes:
        network: ``"AlexNet"`` or ``"X-AlexNet"``.
        values: As :func:`plain` makes them.
    """

    network: str
    values: Mapping[str, Any]

    def has(self, method: str) -> bool:
        """Whether a method gave attributions."""
        return method not in self.values["refusals"]

    def refusal(self, method: str) -> str:
        """Return why a method gave none."""
        return str(self.values["refusals"].get(method, ""))

    def evaluations(self, method: str) -> float:
        """Return how many gradients a method took per image, as counted; NaN if they could not be seen."""
        found = self.values["gradient_evaluations"].get(method)
        return math.nan if found is None else float(found)

    def seconds(self, method: str) -> float:
        """Return how long a method took per image."""
        return float(self.values["seconds"][method])

    def value(self, masking: str, metric: str, method: str) -> Estimate:
        """Return the value of a method by a metric."""
        return _read(self.values["scores"][masking][metric][method])

    def advantage(self, masking: str, metric: str, better: str, worse: str) -> Estimate:
        """Return by how much a method is better than another, paired; below 0 if it is worse.

        Better is more or less, as the metric has it.
        """
        pairs = self.values["differences"][masking][metric]
        forward = f"{better} - {worse}" in pairs
        found = _read(pairs[f"{better} - {worse}" if forward else f"{worse} - {better}"])
        if forward == METRICS[metric]:
            return found
        return Estimate(-found.value, -found.high, -found.low)

    def curve(self, metric: str, method: str) -> list[Estimate]:
        """Return the points of the curve of which a metric, with the paper's mask, is the area."""
        return [_read(point) for point in self.values["curves"][metric][method]]


def plain(result: BenchmarkResult, chosen: Collection[str]) -> dict[str, Any]:
    """Return what :class:`Scores` needs of a result, as JSON knows it.

    Args:
        result: Of the benchmark.
        chosen: The maskings.
    """
    refusals = {method: refusal for method, name in NAMES.items() if (refusal := result.methods[name].refusal)}
    given = {method: result.methods[name] for method, name in NAMES.items() if method not in refusals}
    costs = {method: found.cost for method, found in given.items() if found.cost is not None}

    def differences(metric: str) -> dict[str, list[float | None]]:
        pairs = combinations(given, 2)
        return {f"{a} - {b}": _written(result.difference(NAMES[a], NAMES[b], metric)) for a, b in pairs}

    names = {masking: {short: metric_name(masking, short) for short in METRICS} for masking in chosen}
    curves = names[PAPER]
    return {
        "examples": result.n_examples,
        "refusals": refusals,
        "gradient_evaluations": {method: cost.gradient_evaluations for method, cost in costs.items()},
        "seconds": {method: cost.seconds for method, cost in costs.items()},
        "scores": {
            masking: {
                short: {method: _written(found.estimates[name]) for method, found in given.items()}
                for short, name in metrics.items()
            }
            for masking, metrics in names.items()
        },
        "differences": {
            masking: {short: differences(name) for short, name in metrics.items()} for masking, metrics in names.items()
        },
        "fractions": list(next(iter(given.values())).curves[curves["KPM"]].fractions),
        "curves": {
            short: {method: [_written(p) for p in found.curves[name].values] for method, found in given.items()}
            for short, name in curves.items()
        },
    }


def _written(found: Estimate) -> list[float | None]:
    numbers = (found.value, found.low, found.high)
    return [number if math.isfinite(number) else None for number in numbers]


def _read(numbers: list[float | None]) -> Estimate:
    return Estimate(*(math.nan if number is None else number for number in numbers))
