"""One number for every masked feature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._core.options import finite_number
from captum_xg.metrics.masking.maskers.base import Masker


@dataclass(frozen=True)
class Constant(Masker):
    """Masked features take one constant value.

    Args:
        value: A finite number, in the units of the inputs.

    Raises:
        OptionError: If it is not a finite number.
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", finite_number(self.value, "value", "Constant"))

    def __call__(self, inputs: Tensor, /) -> Tensor:
        """Return the constant in the shape of the inputs."""
        return torch.full_like(inputs, self.value)


class Zero(Constant):
    """Masked features become 0, the baseline of X-Gradient: the mean of standardised data, black in [0, 1]."""

    def __init__(self) -> None:
        super().__init__(0.0)
