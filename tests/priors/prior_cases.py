"""One of each prior, with the shape of attributions that it is for and its degree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from captum_xg.priors import (
    AttributionPrior,
    EnergyInRegion,
    GiniSparsity,
    GraphSmoothness,
    GroupSparsity,
    HighFrequency,
    LpNorm,
    RightForRightReasons,
    TotalVariation,
)

SHAPE = (3, 2, 4, 5)
EDGES = torch.tensor([[0, 1, 5, 7, 39], [1, 2, 30, 3, 0]])


class Case(NamedTuple):
    make: Callable[[], AttributionPrior]
    degree: int
    arguments: Mapping[str, Any] = MappingProxyType({})


def _mask() -> torch.Tensor:
    return torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) > 0.5


CASES = {
    "gini of batch": Case(GiniSparsity, 0),
    "gini of examples": Case(lambda: GiniSparsity("example"), 0),
    "total variation": Case(TotalVariation, 1),
    "total variation, 1-d": Case(lambda: TotalVariation(1), 1),
    "total variation, 3-d, squared, wrapped": Case(lambda: TotalVariation(3, power=2, wrap=True), 2),
    "graph": Case(lambda: GraphSmoothness(EDGES, torch.tensor([0.5, 1, 2, 3, 0.1])), 2),
    "graph, absolute": Case(lambda: GraphSmoothness(EDGES, power=1), 1),
    "graph of batch": Case(lambda: GraphSmoothness(EDGES, of="mean_absolute"), 2),
    "right reasons": Case(lambda: RightForRightReasons(_mask()), 2),
    "right reasons, mask in call": Case(RightForRightReasons, 2, arguments={"mask": _mask().expand(3, 1, 4, 5) * 0.3}),
    "region": Case(lambda: EnergyInRegion(_mask()), 0),
    "region, positive": Case(lambda: EnergyInRegion(_mask(), positive=True), 0),
    "region of boxes": Case(EnergyInRegion, 0, arguments={"boxes": torch.tensor([[0, 0, 2, 3]] * 3)}),
    "frequency": Case(HighFrequency, 0),
    "frequency, amount": Case(lambda: HighFrequency(normalise=False), 2),
    "norm 1": Case(LpNorm, 1),
    "norm 1.5": Case(lambda: LpNorm(1.5), 1),
    "norm 2": Case(lambda: LpNorm(2), 1),
    "norm 3": Case(lambda: LpNorm(3), 1),
    "norm inf": Case(lambda: LpNorm(math.inf), 1),
    "groups": Case(lambda: GroupSparsity([[0, 1, 2], [2, 7], [39]]), 1),
    "group ids": Case(lambda: GroupSparsity(torch.arange(40) % 7), 1),
    "channels": Case(lambda: GroupSparsity("channels"), 1),
}
