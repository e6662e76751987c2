"""All scores by variant, and what a way to choose λ makes of them.

What must never happen: that λ is chosen by test scores, or that values of different repetitions are paired.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from captum_xg.repro.fair.measure import Scores
from captum_xg.repro.fair.variants import Variant

When = Literal["best", "last"]
"""The networks of the epoch with the best validation ROC-AUC so far, or those after the last update."""


@dataclass(frozen=True)
class Protocol:
    """How networks and λ are chosen.

    Attributes:
        grid: The strengths λ to choose from.
        epochs: Of each training.
        when: Which network of a training counts.
        by_split: Whether each repetition takes the λ that is best on its own 100 validation examples; else one λ for
            all repetitions, with the best mean.
    """

    grid: tuple[float, ...]
    epochs: int
    when: When = "best"
    by_split: bool = False


@dataclass(frozen=True)
class Trainings:
    """Scores of all variants, each of the same repetitions in the same order.

    Attributes:
        scores: Variant → λ → scores.
    """

    scores: Mapping[Variant, Mapping[float, Scores]]

    def __contains__(self, variant: Variant) -> bool:
        return variant in self.scores

    @property
    def references(self) -> list[int]:
        """The numbers of references of Expected Gradients, increasing."""
        return sorted({variant.n_references for variant in self.scores if variant.n_references})

    def pairs(self, variant: Variant, strength: float, how: Protocol) -> list[list[float]]:
        """Return validation and test ROC-AUC of each repetition."""
        return self.scores[variant][strength][str(how.epochs)][how.when]

    def strength(self, variant: Variant, how: Protocol) -> float:
        """Return the λ of the grid with the best mean validation ROC-AUC, of equals the smallest."""
        means = {s: statistics.fmean(p[0] for p in self.pairs(variant, s, how)) for s in self._grid(variant, how)}
        return min(means, key=lambda s: (-means[s], s))

    def test(self, variant: Variant, how: Protocol, strength: float | None = None) -> list[float]:
        """Return the test ROC-AUC of each repetition, at the λ that the protocol chooses, or at a given one."""
        if strength is None and how.by_split:
            by_strength = [self.pairs(variant, s, how) for s in sorted(self._grid(variant, how))]
            # max takes the first of equals, which has the smallest λ.
            return [max(pairs, key=lambda pair: pair[0])[1] for pairs in zip(*by_strength, strict=True)]
        chosen = self.strength(variant, how) if strength is None else strength
        return [pair[1] for pair in self.pairs(variant, chosen, how)]

    def best_possible(self, variant: Variant, how: Protocol) -> tuple[float, float]:
        """Return the λ with the best mean *test* ROC-AUC and that mean: no way to choose one λ can do better."""
        means = {s: statistics.fmean(p[1] for p in self.pairs(variant, s, how)) for s in self._grid(variant, how)}
        best = min(means, key=lambda s: (-means[s], s))
        return best, means[best]

    def _grid(self, variant: Variant, how: Protocol) -> Sequence[float]:
        return [s for s in self.scores[variant] if s == 0 or s in how.grid]
