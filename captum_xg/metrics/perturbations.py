"""Random changes of inputs for Captum's infidelity and maximum sensitivity, drawn row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._core.options import number_that
from captum_xg.metrics.formatting import Baselines, checked_baselines, format_baselines
from captum_xg.metrics.protocols import Tensors


@dataclass(frozen=True)
class RandomRemoval:
    """Every entry becomes its baseline with some probability: for attributions that contain the factor x − b.

    With the mask I ∈ {0, 1} as the perturbation, infidelity compares Σ_{removed} A with F(x) − F(x without them): the
    global form, for Integrated Gradients, input×gradient, X-Gradient. Captum calls it with repeated inputs and gets I
    and the perturbed inputs.

    Args:
        probability: In (0, 1].
        baselines: What removed entries become: None for zero, a number, a tensor with 1 in place of N, or a tuple.

    Source: Yeh et al. 2019, *On the (In)fidelity and Sensitivity of Explanations*, Section 2.
    """

    probability: float = 0.5
    baselines: Baselines = None

    def __post_init__(self) -> None:
        p = number_that(self.probability, lambda p: 0 < p <= 1, "a number in (0, 1]", "probability", "RandomRemoval")
        object.__setattr__(self, "probability", p)
        checked_baselines(self.baselines, "RandomRemoval")

    def __call__(self, inputs: Tensors) -> tuple[Tensors, Tensors]:
        """Return perturbations and perturbed inputs, each in the form of the inputs."""
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        values = format_baselines(self.baselines, tensors, "RandomRemoval")
        masks = [m < self.probability for m in _drawn(tensors, torch.rand)]
        changed = tuple(torch.where(m, b, x) for m, b, x in zip(masks, values, tensors, strict=True))
        perturbations = tuple(m.to(x) for m, x in zip(masks, tensors, strict=True))
        return (perturbations, changed) if isinstance(inputs, tuple) else (perturbations[0], changed[0])


@dataclass(frozen=True)
class GaussianNoise:
    """Independent normal noise is subtracted: for attributions that are gradients, without the factor x.

    With the noise I as the perturbation, infidelity compares I·A with F(x) − F(x − I): the local form, for gradients,
    SmoothGrad, or ``multiply_by_inputs=False``.

    Args:
        sigma: Standard deviation, in units of the input.

    Source: Yeh et al. 2019, *On the (In)fidelity and Sensitivity of Explanations*, Section 2.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        sigma = number_that(self.sigma, lambda s: s > 0, "a finite number > 0", "sigma", "GaussianNoise")
        object.__setattr__(self, "sigma", sigma)

    def __call__(self, inputs: Tensors) -> tuple[Tensors, Tensors]:
        """Return the noise and the perturbed inputs, each in the form of the inputs."""
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        noise = tuple((z * self.sigma).to(x) for z, x in zip(_drawn(tensors, torch.randn), tensors, strict=True))
        changed = tuple(x - z for x, z in zip(tensors, noise, strict=True))
        return (noise, changed) if isinstance(inputs, tuple) else (noise[0], changed[0])


@dataclass(frozen=True)
class UniformNoise:
    """Independent uniform noise in [−radius, radius] is added, as Captum's default for ``sensitivity_max`` does.

    Args:
        radius: In units of the input.
    """

    radius: float = 0.02

    def __post_init__(self) -> None:
        radius = number_that(self.radius, lambda r: r > 0, "a finite number > 0", "radius", "UniformNoise")
        object.__setattr__(self, "radius", radius)

    def __call__(self, inputs: Tensors) -> Tensors:
        """Return the perturbed inputs in the form of the inputs."""
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        changed = tuple(
            x + ((2 * u - 1) * self.radius).to(x) for u, x in zip(_drawn(tensors, torch.rand), tensors, strict=True)
        )
        return changed if isinstance(inputs, tuple) else changed[0]


def _drawn(tensors: tuple[Tensor, ...], draw: Callable[..., Tensor]) -> list[Tensor]:
    """Return random float64 tensors of the shapes of these.

    On the CPU and row by row, so that a seed means the same numbers on every device and however many rows Captum asks
    for at a time.
    """
    rows = [[draw(x.shape[1:], dtype=torch.float64, device="cpu") for x in tensors] for _ in range(len(tensors[0]))]
    return [torch.stack(column).to(x.device) for column, x in zip(zip(*rows, strict=True), tensors, strict=True)]
