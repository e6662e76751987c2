"""The units of Table 2 joined: values over images, by network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate
from captum_xg.repro.arguments import FAMILIES
from captum_xg.repro.means import mean_over_examples
from captum_xg.repro.units import Unit

PRECISIONS = ("float32", "float64")


@dataclass(frozen=True)
class Family:
    """What is known of a network and its X-DNN; all values are lists over images.

    Attributes:
        family: ``"AlexNet"``, ``"VGG"`` or ``"ResNet"``.
        names: Of the network and its X-DNN.
        right: Name → ``"top1"``, ``"top5"`` → 0 or 1.
        distances: Name → key of :data:`~captum_xg.repro.table2.distances.KEYS` → distances from IG(128).
        precision: ``"float32"``, ``"float64"`` → what is compared → relative difference, of the X-DNN.
        exact: What is compared → key → distances, of the network with biases; empty if nothing was integrated.
        regions: Linear pieces of its paths.
        refusals: Why exact integrals are missing.
    """

    family: str
    names: tuple[str, str]
    right: Mapping[str, Mapping[str, list[float]]]
    distances: Mapping[str, Mapping[str, list[float]]]
    precision: Mapping[str, Mapping[str, list[float]]]
    exact: Mapping[str, Mapping[str, list[float]]]
    regions: tuple[int, ...]
    refusals: tuple[str, ...]

    def accuracy(self, which: int, key: str) -> Estimate:
        """Return an accuracy in percent: of the network (0) or its X-DNN (1)."""
        return percent(self.right[self.names[which]][key])

    def lost(self, key: str) -> Estimate:
        """Return X-DNN minus network in percentage points, paired by image."""
        regular, xdnn = (_tensor(self.right[name][key]) for name in self.names)
        return percent(xdnn - regular)

    def distance(self, which: int, key: str) -> Estimate:
        """Return a distance from IG(128) in percent: of the network (0) or its X-DNN (1)."""
        return percent(self.distances[self.names[which]][key])

    def reduced(self, key: str) -> Estimate:
        """Return the distance of the X-DNN minus that of the network in percentage points, paired by image."""
        regular, xdnn = (_tensor(self.distances[name][key]) for name in self.names)
        return percent(xdnn - regular)


def percent(values: Tensor | list[float]) -> Estimate:
    """Return the mean over images in percent."""
    return mean_over_examples(100 * _tensor(values))


def families(names: Mapping[str, tuple[str, str]], units: Mapping[str, Unit]) -> tuple[Family, ...]:
    """Return what units came to for each family, by the names of its networks."""
    return tuple(_family(family, names[family], units) for family in FAMILIES)


def _family(family: str, names: tuple[str, str], units: Mapping[str, Unit]) -> Family:
    regular, xdnn = names
    precision, exact = _values(units, "precision", xdnn), _values(units, "exact", regular)
    done = [value for value in exact if not value["refusal"]]
    integrated = [value for value in precision if not value["refusal"]]
    return Family(
        family,
        names,
        {name: _joined(_values(units, "accuracy", name)) for name in names},
        {name: _joined(_values(units, "distance", name)) for name in names},
        {each: _joined([value[each] for value in integrated]) for each in PRECISIONS},
        {key: _joined([value[key] for value in done]) for key in (done[0] if done else ()) if " to " in key},
        tuple(value["regions"] for value in done),
        tuple(sorted({value["refusal"] for value in [*exact, *precision] if value["refusal"]})),
    )


def _values(units: Mapping[str, Unit], kind: str, name: str) -> list[dict[str, Any]]:
    return [unit.value for key, unit in units.items() if key.startswith(f"{kind} {name} ")]


def _joined(parts: Sequence[Mapping[str, list[float]]]) -> dict[str, list[float]]:
    return {key: [value for part in parts for value in part[key]] for key in (parts[0] if parts else ())}


def _tensor(values: Tensor | list[float]) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)
