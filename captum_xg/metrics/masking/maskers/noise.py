"""Gaussian noise as the values of masked features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._core.options import finite_number, number_that
from captum_xg._core.seeding import checked_seed, example_seed
from captum_xg.metrics.masking.maskers.base import Masker


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
        object.__setattr__(self, "std", checked_std(self.std, "std", "Noise"))
        object.__setattr__(self, "mean", finite_number(self.mean, "mean", "Noise"))
        object.__setattr__(self, "seed", checked_seed(self.seed, "Noise"))

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


def checked_std(value: object, name: str, where: str) -> float:
    """Return a standard deviation if it is a finite number ≥ 0.

    Raises:
        OptionTypeError: If it is not a number.
        OptionError: If it is negative, NaN or infinite.
    """
    return number_that(value, lambda std: std >= 0, "a finite number ≥ 0", name, where)
