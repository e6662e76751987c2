"""Gaussian noise as the values of masked features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg.errors import OptionError
from captum_xg.metrics.draws import checked_seed, example_seed
from captum_xg.metrics.maskers.base import Masker


@dataclass(frozen=True)
class Noise(Masker):
    """Masked features take independent Gaussian noise, the same for the same example in whatever batch it comes.

    Drawn on the CPU from a generator seeded with ``seed`` and the values of the example, so that devices, batches and
    processes agree and no global generator moves.

    Args:
        std: Standard deviation, in the units of the inputs.
        mean: Mean, in the same units.
        seed: An integer; another one gives other noise.

    Raises:
        OptionError: If ``std`` is not a finite number ≥ 0, ``mean`` not a finite number, or ``seed`` no integer.
    """

    std: float = 1.0
    mean: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_std(self.std, "std", "Noise")
        if isinstance(self.mean, bool) or not isinstance(self.mean, (int, float)) or not math.isfinite(self.mean):
            raise OptionError(f"Noise: `mean` must be a finite number but is {self.mean!r}.")
        checked_seed(self.seed, "Noise")

    def __call__(self, inputs: Tensor, /) -> Tensor:
        """Return noise in the shape of the inputs."""
        return self.mean + self.std * standard_normal(inputs, self.seed)


def standard_normal(inputs: Tensor, seed: int) -> Tensor:
    """Return independent standard normal numbers in the shape of the inputs, drawn example by example."""
    drawn = []
    for example in inputs:
        generator = torch.Generator().manual_seed(example_seed((example,), seed))
        drawn.append(torch.randn(example.shape, generator=generator, dtype=torch.float64))
    return torch.stack(drawn).to(inputs)


def check_std(value: float, name: str, where: str) -> None:
    """Check that a standard deviation is a finite number ≥ 0.

    Raises:
        OptionError: Otherwise.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:
        raise OptionError(f"{where}: `{name}` must be a finite number ≥ 0 but is {value!r}.")
