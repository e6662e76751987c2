"""The paper's mask: a heavily blurred copy of the input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from captum_xg._core.options import integer, number_that, one_of, positive_integer
from captum_xg.errors import InputError, OptionError, OptionTypeError
from captum_xg.metrics.masking.maskers.base import Masker


@dataclass(frozen=True)
class GaussianBlur(Masker):
    r"""Masked features take their value in a blurred copy of the input.

    .. math:: w_d \propto e^{-d^2 / 2\sigma^2} \quad\text{(paper)}, \qquad
              w_d \propto e^{-(d / 2\sigma)^2} \quad\text{(released)}, \qquad \textstyle\sum_d w_d = 1

    with \|d\| ≤ (kernel_size − 1)/2 along each blurred dimension; the released kernel is a Gaussian of σ√2. Beyond its
    edge the input goes on mirrored (the edge is not repeated), back and forth where it is smaller than the kernel's
    reach, so that every size is defined.

    Args:
        kernel_size: Odd number of positions under the kernel, along each blurred dimension.
        sigma: σ, in positions.
        protocol: ``"paper"`` or ``"released"``, the kernel as stated or as the published numbers were made with.
        dims: The dimensions that are blurred. By default the positions: all from the third on for images
            ``(N, C, H, W)`` and volumes, the second for sequences ``(N, L, D)``.

    Raises:
        OptionError: If an option has no such value.

    Source: Hesse et al. 2021, Section B.2.
    """

    kernel_size: int = 51
    sigma: float = 41.0
    protocol: Literal["paper", "released"] = "paper"
    dims: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        where = "GaussianBlur"
        size = positive_integer(self.kernel_size, "kernel_size", where)
        if size % 2 == 0:
            raise OptionError(f"{where}: `kernel_size` must be odd but is {size}.")
        object.__setattr__(self, "kernel_size", size)
        sigma = number_that(self.sigma, lambda s: s > 0, "a finite number > 0", "sigma", where)
        object.__setattr__(self, "sigma", sigma)
        one_of(self.protocol, ("paper", "released"), "protocol", where)
        if self.dims is not None:
            if not isinstance(self.dims, (tuple, list)):
                raise OptionTypeError(f"{where}: `dims` must be a tuple of dimensions or None but is {self.dims!r}.")
            object.__setattr__(self, "dims", tuple(integer(d, "dims", where) for d in self.dims))

    def __call__(self, inputs: Tensor, /) -> Tensor:
        """Return the blurred inputs.

        Raises:
            InputError: If the inputs have no dimension to blur along.
        """
        wide = torch.promote_types(inputs.dtype, torch.float32)
        blurred = inputs.to(wide)
        for dim in self._dims(inputs):
            matrix = self._matrix(inputs.shape[dim]).to(blurred)
            blurred = (blurred.movedim(dim, -1) @ matrix.T).movedim(-1, dim)
        return blurred.to(inputs.dtype).contiguous()

    def weights(self) -> Tensor:
        """Return the kernel along one dimension, shape ``(kernel_size,)``, float64, of sum 1."""
        reach = self.kernel_size // 2
        d = torch.arange(-reach, reach + 1, dtype=torch.float64)
        width = math.sqrt(2) * self.sigma if self.protocol == "paper" else 2 * self.sigma
        w = torch.exp(-((d / width) ** 2))
        return w / w.sum()

    def _dims(self, inputs: Tensor) -> tuple[int, ...]:
        if self.dims is not None:
            if any(not -inputs.dim() <= d < inputs.dim() or d % inputs.dim() == 0 for d in self.dims):
                raise InputError(
                    f"GaussianBlur: dims={self.dims} for inputs of shape {tuple(inputs.shape)}; choose among the "
                    "dimensions behind the examples."
                )
            return self.dims
        if inputs.dim() < 3:
            raise InputError(
                f"GaussianBlur: inputs of shape {tuple(inputs.shape)} have no positions to blur along. Use "
                "maskers.Mean() or maskers.Zero() for tabular data, or say dims=(1,) if the features are in order."
            )
        return (1,) if inputs.dim() == 3 else tuple(range(2, inputs.dim()))

    def _matrix(self, size: int) -> Tensor:
        """Return the blur along a dimension as a matrix: row i holds the weights of all positions for position i."""
        reach = self.kernel_size // 2
        reached = torch.arange(size)[:, None] + torch.arange(-reach, reach + 1)[None, :]
        matrix = torch.zeros(size, size, dtype=torch.float64)
        return matrix.scatter_add_(1, mirrored(reached, size), self.weights().expand(size, -1))


def mirrored(positions: Tensor, size: int) -> Tensor:
    """Return where positions beyond the edges of ``0 … size − 1`` fall when the edges are mirrors."""
    period = max(2 * (size - 1), 1)
    folded = positions.remainder(period)
    return torch.minimum(folded, period - folded) if size > 1 else torch.zeros_like(positions)
