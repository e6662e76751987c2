"""Noisy linear imputation of ROAD: masked pixels from their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_xg._core.options import number_that
from captum_xg._core.seeding import checked_seed
from captum_xg.errors import InputError
from captum_xg.metrics.masking.maskers.base import Masker
from captum_xg.metrics.masking.maskers.noise import checked_std, standard_normal

_DIRECT, _DIAGONAL = 1 / 6, 1 / 12
_MOST_ITERATIONS = 10_000


@dataclass(frozen=True)
class NoisyLinear(Masker):
    r"""Masked pixels take the weighted mean of their neighbours, all at once, plus a little noise.

    .. math:: x_i = \frac{\sum_j w_{ij}\, x_j}{\sum_j w_{ij}} + \varepsilon_i, \qquad
              w_{ij} = \tfrac16 \text{ (direct)},\ \tfrac1{12} \text{ (diagonal)}

    over the up to eight neighbours inside the image, known and masked ones; the linear system (without ε) is solved in
    float64 by conjugate gradients, to a residual of ``tolerance`` times the right-hand side. It shows less of the
    mask's shape than a constant does, so that the model cannot read the class from it. Where everything is masked there
    is no neighbour to start from: the pixels take the mean of their channel in that example. The noise is drawn as
    :class:`~captum_xg.metrics.maskers.Noise` draws it.

    Args:
        noise: Standard deviation of ε, in the units of the inputs.
        seed: An integer; another one gives other noise.
        tolerance: Of the linear system, relative.

    Raises:
        OptionError: If an option has no such value.

    Source: Rong et al. 2022, *A Consistent and Efficient Evaluation Strategy for Attribution Methods*, Section 4.
    """

    needs_mask: ClassVar[bool] = True

    noise: float = 0.01
    seed: int = 0
    tolerance: float = 1e-8

    def __post_init__(self) -> None:
        where = "NoisyLinear"
        object.__setattr__(self, "noise", checked_std(self.noise, "noise", where))
        object.__setattr__(self, "seed", checked_seed(self.seed, where))
        tolerance = number_that(self.tolerance, lambda t: 0 < t < 1, "a number in (0, 1)", "tolerance", where)
        object.__setattr__(self, "tolerance", tolerance)

    def __call__(self, inputs: Tensor, masked: Tensor | None = None, /) -> Tensor:
        """Return images with the masked pixels filled in.

        Args:
            inputs: Images ``(N, C, H, W)``.
            masked: True where a pixel is masked, ``(N, H, W)``; every pixel if None.

        Raises:
            InputError: If the inputs are not images, or the mask does not fit.
        """
        if inputs.dim() != 4:
            raise InputError(
                f"NoisyLinear: inputs have shape {tuple(inputs.shape)}, but neighbours are known for images "
                "(N, C, H, W) only. Use maskers.Mean() or maskers.Noise() for other data."
            )
        n, _, height, width = inputs.shape
        if masked is None:
            masked = torch.ones(n, height, width, dtype=torch.bool, device=inputs.device)
        if masked.dtype != torch.bool or masked.shape != (n, height, width):
            raise InputError(
                f"NoisyLinear: the mask is {masked.dtype} of shape {tuple(masked.shape)} but must be boolean of shape "
                f"{(n, height, width)} for inputs of shape {tuple(inputs.shape)}."
            )
        filled = _interpolated(inputs.detach().double(), masked[:, None], self.tolerance)
        if self.noise:
            filled = filled + self.noise * standard_normal(inputs, self.seed)
        return torch.where(masked[:, None], filled.to(inputs.dtype), inputs)


def _interpolated(x: Tensor, masked: Tensor, tolerance: float) -> Tensor:
    """Solve Σⱼ wᵢⱼ(xᵢ − xⱼ) = 0 for the masked pixels, by conjugate gradients for each example and channel.

    The matrix is that of a graph's Laplacian with the known pixels held fixed: symmetric, and positive definite where
    there is a known pixel, for every pixel is connected to it.
    """
    kernel = x.new_tensor([[_DIAGONAL, _DIRECT, _DIAGONAL], [_DIRECT, 0, _DIRECT], [_DIAGONAL, _DIRECT, _DIAGONAL]])
    height, width = x.shape[2:]

    def neighbours(v: Tensor) -> Tensor:
        flat = v.reshape(-1, 1, height, width)
        return F.conv2d(flat, kernel[None, None], padding=1).reshape(v.shape)

    total = neighbours(torch.ones_like(x[:1, :1]))  # of the weights inside the image: less at its edges
    inside = masked.to(x).expand_as(x)
    mean = x.mean((2, 3), keepdim=True).expand_as(x)
    if height == width == 1:
        return torch.where(masked, mean, x)
    known = torch.where(masked, torch.zeros_like(x), x)
    start = torch.where(masked, mean, torch.zeros_like(x))
    target = neighbours(known) * inside

    def system(v: Tensor) -> Tensor:
        return (total * v - neighbours(v)) * inside

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((2, 3), keepdim=True)

    # Where all is masked the system is singular and the start, the mean, stays.
    solvable = (~masked).flatten(1).any(1)[:, None, None, None].to(x)
    solution = start
    residual = (target - system(solution)) * solvable
    scaled = residual / total  # the preconditioner is the diagonal
    direction, rho = scaled, dot(residual, scaled)
    enough = tolerance**2 * torch.maximum(dot(target, target), dot(residual, residual))
    for _ in range(_MOST_ITERATIONS):
        going = dot(residual, residual) > enough  # each channel of each example stops by itself
        if not bool(going.any()):
            break
        image = system(direction)
        curvature = dot(direction, image)
        step = torch.where(going & (curvature > 0), rho / curvature.clamp_min(1e-300), torch.zeros_like(rho))
        solution = solution + step * direction
        residual = residual - step * image
        scaled = residual / total
        new = dot(residual, scaled)
        direction = scaled + torch.where(going, new / rho.clamp_min(1e-300), torch.zeros_like(rho)) * direction
        rho = new
    return torch.where(masked, solution, x)
