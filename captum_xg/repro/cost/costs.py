"""What was measured, by batch size and way, and the ratios that verdicts and tables are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate
from captum_xg.repro.cost.networks import Setting
from captum_xg.repro.cost.steps import PLAIN, Way
from captum_xg.repro.means import statistic_of_examples


@dataclass(frozen=True)
class Costs:
    """Numbers of all units.

    Attributes:
        settings: One for each batch size; the first is what verdicts are about.
        seconds: Batch size → way → seconds of a step in each round.
        bytes: Batch size → way → bytes at the peak; None if there were not enough.
        reserved: Likewise what the allocator of a GPU had taken; empty on a CPU.
        operations: Way → floating-point operations, at the first batch size.
        differences: Way → largest difference of the parameters' gradients from those of one batch, relative.
        hardware: What it ran on.
        processes: How many processes shared the machine, when seconds were measured.
    """

    settings: tuple[Setting, ...]
    seconds: Mapping[int, Mapping[str, Sequence[float]]]
    bytes: Mapping[int, Mapping[str, int | None]]
    reserved: Mapping[int, Mapping[str, int]]
    operations: Mapping[str, int]
    differences: Mapping[str, float]
    hardware: str
    processes: int

    @classmethod
    def of(cls, values: Mapping[str, Mapping[str, Any]], settings: tuple[Setting, ...]) -> Costs:
        """Return the costs in what units came to, by their names."""
        sizes = [each.batch_size for each in settings]
        timings = {n: values[f"seconds, batch {n}"] for n in sizes}
        peaks = {n: _of(values, f"memory, batch {n}, ") for n in sizes}
        return cls(
            settings,
            {n: each["seconds"] for n, each in timings.items()},
            {n: {key: each.get("bytes") for key, each in ways.items()} for n, ways in peaks.items()},
            {n: {k: each["reserved"] for k, each in ways.items() if "reserved" in each} for n, ways in peaks.items()},
            {key: each["operations"] for key, each in _of(values, "arithmetic, ").items()},
            values["gradients"],
            timings[sizes[0]]["device"],
            timings[sizes[0]]["processes"],
        )

    @property
    def setting(self) -> Setting:
        """What verdicts are about."""
        return self.settings[0]

    def duration(self, way: Way, batch_size: int | None = None) -> Estimate | None:
        """Return the median of the seconds of a step, with its interval over rounds; None if it was not measured."""
        rounds = self.seconds[batch_size or self.setting.batch_size].get(way.key)
        return None if rounds is None else median(rounds)

    def times(self, way: Way, other: Way = PLAIN, batch_size: int | None = None) -> Estimate | None:
        """Return the median over rounds of how many times as long as another way it takes, with its interval."""
        found = self.seconds[batch_size or self.setting.batch_size]
        if way.key not in found or other.key not in found:
            return None
        return median([a / b for a, b in zip(found[way.key], found[other.key], strict=True)])

    def larger(self, way: Way, other: Way, batch_size: int | None = None) -> float | None:
        """Return how many times the memory of another way it needs; None if one of them did not fit."""
        found = self.bytes[batch_size or self.setting.batch_size]
        own, others = found.get(way.key), found.get(other.key)
        return None if own is None or others is None else own / others

    def arithmetic(self, way: Way, other: Way = PLAIN) -> float:
        """Return how many times the operations of another way it needs."""
        return self.operations[way.key] / self.operations[other.key]


def median(values: Sequence[float]) -> Estimate:
    """Return the median, with its interval over resampled rounds."""
    return statistic_of_examples({"": torch.tensor(values, dtype=torch.float64)}, _middle)[""]


def _middle(values: Tensor) -> Tensor:
    ordered, n = values.sort().values, len(values)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def _of(values: Mapping[str, Mapping[str, Any]], start: str) -> dict[str, Mapping[str, Any]]:
    return {name.removeprefix(start): each for name, each in values.items() if name.startswith(start)}
