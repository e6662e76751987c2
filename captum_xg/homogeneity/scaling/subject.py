"""What is confronted: F at an example, and what is claimed of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from captum_xg._core.recorder import Names
from captum_xg.homogeneity.scaling.footprints import Run
from captum_xg.homogeneity.scaling.precision import Precision


@dataclass(frozen=True)
class Subject:
    """What is confronted: F at an example, and the claim.

    Attributes:
        run: F, which may overwrite its inputs.
        inputs: The example x.
        outputs: F(x).
        degree: k; None if F is claimed to be zero everywhere.
        gradient: c and ∇(c·F)(x), from :func:`gradient_of`; None if F gives none.
        wider: Returns F in float64, if it can be had.
        inner: Floating dtypes that F computes in on the way.
        names: Module id → (path, module), to say where passes part.
        conserved: What is claimed is Σ x·∂F = kF at every input, and nothing of F(αx).
    """

    run: Run
    inputs: tuple[Tensor, ...]
    outputs: Sequence[Tensor]
    degree: float | None
    gradient: tuple[list[Tensor], list[Tensor]] | None = None
    wider: Callable[[], Run | None] = lambda: None
    inner: frozenset[torch.dtype] = frozenset()
    names: Names | None = None
    conserved: bool = False

    @cached_property
    def precision(self) -> Precision:
        """What can be resolved of F."""
        floating = [y for y in self.outputs if y.dtype.is_floating_point]
        return Precision.of(*self.inputs, *floating, inner=self.inner)

    @property
    def resolves_slopes(self) -> bool:
        """Whether there is a step between the rounding of F and its curvature."""
        return torch.finfo(self.precision.dtype).eps < 1e-4


def gradient_of(outputs: Sequence[Tensor], leaves: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]] | None:
    """Return weights c, one for each output number, and ∇(c·F) by each leaf; None if there is no such gradient.

    The weights are random and of the signs of F: so no terms of c·F cancel, and a factor that the gradient lacks shows.
    """
    if any(y.dtype.is_complex for y in outputs) or not any(y.requires_grad for y in outputs):
        return None
    generator = torch.Generator().manual_seed(len(outputs))
    weights = [(torch.rand(y.shape, generator=generator) + 0.5).to(y).copysign(y.detach()) for y in outputs]
    try:
        gradients = weighted_gradient(outputs, leaves, weights)
    except RuntimeError:  # F writes over what its gradient needs: nobody is given a wrong one, as there is none
        return None
    return (weights, gradients) if all(bool(g.isfinite().all()) for g in gradients) else None


def weighted_gradient(outputs: Sequence[Tensor], leaves: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """Return ∇(c·F) by each leaf, zeros where F does not depend on it."""
    taking_part = [(y, c) for y, c in zip(outputs, weights, strict=True) if y.requires_grad]
    found = torch.autograd.grad([y for y, _ in taking_part], leaves, [c for _, c in taking_part], allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]
