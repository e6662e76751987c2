"""Scores of all networks and methods, gathered over seeds, with intervals over inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captum_xg._core.estimate import Estimate
from captum_xg.repro.means import mean_over_examples
from captum_xg.repro.truth.measure import KINDS, Kind
from captum_xg.repro.truth.methods import Method

SCORES = {"error": "error", "pearson": "Pearson", "spearman": "Spearman", "share": "share in the true region"}


@dataclass(frozen=True)
class Results:
    """All scores.

    Attributes:
        values: Kind → method → what its units came to, one for each seed.
    """

    values: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]

    @classmethod
    def of(cls, units: Mapping[str, Mapping[str, Any]]) -> Results:
        """Return the scores in what units came to, named ``KIND, seed N``."""
        found: dict[str, dict[str, list[Mapping[str, Any]]]] = {kind.key: {} for kind in KINDS}
        for name, methods in units.items():
            for key, scores in methods.items():
                found[name.partition(", seed")[0]].setdefault(key, []).append(scores)
        return cls(found)

    def each(self, kind: Kind, method: Method, score: str) -> list[float]:
        """Return one number per input, over all seeds; empty where the method does not apply, or has no such score."""
        return [float(v) for unit in self.values[kind.key][method.key] for v in unit.get(score, ())]

    def mean(self, kind: Kind, method: Method, score: str) -> Estimate | None:
        """Return the mean over inputs with its interval; None where there is none."""
        values = self.each(kind, method, score)
        return mean_over_examples(values) if values else None

    def difference(self, kind: Kind, method: Method, other: Method, score: str) -> Estimate:
        """Return the mean over inputs of the difference of two methods."""
        pairs = zip(self.each(kind, method, score), self.each(kind, other, score), strict=True)
        return mean_over_examples([a - b for a, b in pairs])

    def largest(self, method: Method, kinds: Sequence[Kind] = KINDS) -> float:
        """Return the largest error at an input of these kinds; infinite if the method refused one of them."""
        found = [each for kind in kinds for each in (self.each(kind, method, "error") or [float("inf")])]
        return max(found)

    def refused(self, kind: Kind, method: Method) -> int:
        """Return how many networks of a kind the method refused, and said why."""
        return sum(bool(unit.get("refused")) for unit in self.values[kind.key][method.key])

    def networks(self, kind: Kind) -> int:
        """Return how many networks of a kind there are."""
        return len(next(iter(self.values[kind.key].values())))
