"""What all units came to, by the share of the images that carry the patch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from captum_xg.repro.scan.claims import SHARES, percent


@dataclass(frozen=True)
class Results:
    """All units.

    Attributes:
        units: Name → what it came to; named ``100%, seed 0``.
        seeds: How many networks there are for each share.
    """

    units: Mapping[str, Mapping[str, Any]]
    seeds: int

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares that were tried."""
        return tuple(share for share in SHARES if f"{percent(share)}, seed 0" in self.units)

    def of(self, share: float) -> list[Mapping[str, Any]]:
        """Return what the networks of a share came to, one for each seed."""
        return [self.units[f"{percent(share)}, seed {seed}"] for seed in range(self.seeds)]

    def each(self, share: float, when: str, what: str) -> list[float]:
        """Return a number of each network, such as ``"clean"``, ``"before"`` or ``"after"`` the prior."""
        return [float(unit[when][what]) for unit in self.of(share)]

    def ranks(self, share: float, by: str = "ranks") -> list[float]:
        """Return the ranks of all places of the patch over all networks; infinite for those that have none."""
        return [math.inf if rank is None else rank for unit in self.of(share) for rank in unit[by]]


def shown(rank: float) -> str:
    """Return a rank as it is printed."""
    return "–" if math.isinf(rank) else f"{rank:.0f}"
