"""Smooth attributions: neighbours alike, by total variation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from captum_xg._core.options import single_number, switch
from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.priors.base import AttributionPrior
from captum_xg.priors.shapes import checked_dims, spatial_dims


class TotalVariation(AttributionPrior):
    r"""The sum of differences between neighbours, averaged over examples.

    .. math:: \Omega(A) = \frac{1}{N} \sum_{x} \sum_{d} \sum_{i} |A_{i + e_d}(x) - A_i(x)|^p

    over places i, channels, and the last 1, 2 or 3 dimensions d (anisotropic total variation).

    Range: 0, where every channel is constant, to ∞. Degree p. It is a sum over places, as in the source: divide the
    weight by the number of neighbours to have their mean. A dimension of size 1 adds nothing.

    Args:
        dims: How many of the last dimensions have neighbours: 1, 2 or 3. None takes ``(N, L)`` and ``(N, C, L)`` as
            sequences, ``(N, C, H, W)`` as images, ``(N, C, D, H, W)`` as volumes.
        power: p, 1 for absolute differences or 2 for squared ones.
        wrap: Whether the last place is a neighbour of the first (two places are then neighbours twice).

    Shapes: attributions ``(N, …)``, see ``dims``.

    Raises:
        OptionError: If an option has no such value.
        PriorError: When called, if the attributions do not have these dimensions.

    Source: Erion et al. 2021, *Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients* (pixel attribution prior); Rudin, Osher and Fatemi 1992 for total variation.
    """

    def __init__(self, dims: Literal[1, 2, 3] | None = None, *, power: Literal[1, 2] = 1, wrap: bool = False) -> None:
        super().__init__()
        self.dims = checked_dims(dims, "TotalVariation")
        self.power = check_power(power, "TotalVariation")
        self.wrap = switch(wrap, "wrap", "TotalVariation")

    def penalty(self, attributions: Tensor) -> Tensor:
        """Return the mean over examples of the sum of differences."""
        terms = []
        for dim in spatial_dims(attributions, self.dims, "TotalVariation"):
            difference = attributions.roll(-1, dim) - attributions if self.wrap else attributions.diff(dim=dim)
            terms.append(raised(difference, self.power).sum())
        return torch.stack(terms).sum() / len(attributions)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"dims={self.dims}, power={self.power}, wrap={self.wrap}"


def check_power(power: object, where: str) -> int:
    """Return the power of differences.

    Raises:
        OptionError: If it is neither 1 nor 2.
    """
    number = single_number(power)
    if number not in (1, 2):
        kind = OptionTypeError if number is None else OptionError
        raise kind(f"{where}: `power` must be 1 (absolute differences) or 2 (squared) but is {power!r}.")
    return 1 if number == 1 else 2


def raised(difference: Tensor, power: int) -> Tensor:
    """Return the absolute or the squared differences."""
    return difference.abs() if power == 1 else difference.square()
