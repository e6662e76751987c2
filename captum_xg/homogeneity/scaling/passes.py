"""Passes of F at other inputs, and what is compared of them: all output numbers as one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_xg.homogeneity.scaling.footprints import Run


def values_of(run: Run, inputs: tuple[Tensor, ...]) -> Tensor | None:
    """Return F's output as one vector, None if it does not run at these inputs."""
    try:
        with torch.no_grad():
            return vector_of(run(tuple(x.detach().clone() for x in inputs)))
    except Exception:  # F may need gradients inside (hooks, derivatives), or may refuse such inputs
        try:
            with torch.enable_grad():
                return vector_of(run(fresh_handles(inputs)))
        except Exception:
            return None


def vector_of(outputs: Sequence[Tensor]) -> Tensor:
    """Return all numbers of outputs as one float64 vector on the CPU."""
    parts = [torch.view_as_real(y.resolve_conj()) if y.dtype.is_complex else y for y in outputs]
    return torch.cat([y.detach().reshape(-1).double().cpu() for y in parts]) if parts else torch.empty(0)


def fresh_handles(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return clones of leaves, which F may overwrite and autograd has a node for."""
    return tuple(x.detach().clone().requires_grad_().clone() for x in inputs)


def difference_tolerance(dtype: torch.dtype) -> float:
    """Return how far differences may be from the gradient: what kinks within reach of the step, and rounding, take."""
    return 1e-3 if dtype == torch.float64 else 5e-2


def step_of(dtype: torch.dtype) -> float:
    """Return the step of differences, where rounding and curvature take about as much."""
    return 2.0**-20 if dtype == torch.float64 else 2.0**-9


def rounding_of_slope(dtype: torch.dtype, size: float) -> float:
    """Return what rounding takes from a difference quotient of a sum of terms of this size, in a deep network."""
    return 32 * torch.finfo(dtype).eps * size / step_of(dtype)


def directions_of(inputs: Sequence[Tensor], number: int) -> list[Tensor]:
    """Return x∘r for random r: zeros, and with them what is padded or masked, stay where they are."""
    generator = torch.Generator().manual_seed(number)
    return [x.detach() * torch.randn(x.shape, generator=generator).to(x.device, x.dtype) for x in inputs]
