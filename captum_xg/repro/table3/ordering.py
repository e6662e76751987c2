"""Orderings: which of two methods is the better one in print, and whether it is so here.

A comparison *holds* where the 95 % interval of the paired difference lies on the printed side of zero, is *reversed*
where it lies on the other side, and *open* where zero is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from captum_xg._core.text import displayed
from captum_xg.repro.table3.printed import METRICS, NETWORKS, ordered_pairs
from captum_xg.repro.table3.scores import Scores

Fate: TypeAlias = Literal["holds", "reversed", "open"]
FATES: tuple[Fate, ...] = ("holds", "reversed", "open")
AllScores: TypeAlias = Mapping[str, Scores]
"""Network → its scores."""


@displayed
@dataclass(frozen=True)
class Comparison:
    """A statement that one method is better than another, by one metric on one network."""

    network: str
    metric: str
    better: str
    worse: str

    def __str__(self) -> str:
        return f"{self.better} over {self.worse} by {self.metric} on {self.network}"

    def fate(self, scores: AllScores, masking: str) -> Fate:
        """Return what became of it with a masking."""
        found = scores[self.network].advantage(masking, self.metric, self.better, self.worse)
        return "holds" if found.low > 0 else "reversed" if found.high < 0 else "open"


def of_the_table(networks: Iterable[str] = NETWORKS, metrics: Iterable[str] = METRICS) -> list[Comparison]:
    """Return all comparisons that the printed numbers make."""
    wanted = list(metrics)
    return [
        Comparison(network, metric, *pair)
        for network in networks
        for metric in wanted
        for pair in ordered_pairs(network, metric)
    ]


def fates(comparisons: Iterable[Comparison], scores: AllScores, masking: str) -> dict[Fate, list[Comparison]]:
    """Return the comparisons by what became of them."""
    found: dict[Fate, list[Comparison]] = {fate: [] for fate in FATES}
    for each in comparisons:
        # Where a method refused there is nothing to compare; that is a finding of its own.
        if scores[each.network].has(each.better) and scores[each.network].has(each.worse):
            found[each.fate(scores, masking)].append(each)
    return found
