"""Conservation confronted with numbers: Σ x·∂F = kF at the example, with the gradient that autograd gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_TOLERANCE = {torch.float64: 1e-8, torch.complex128: 1e-8, torch.float32: 1e-3}
_COARSE = 0.1
"""Relative to the sum of magnitudes, for dtypes of fewer bits."""


def is_conserved(run: Callable[[tuple[Tensor, ...]], list[Tensor]], inputs: Sequence[Tensor], degree: float) -> bool:
    """Return whether x·∂F adds up to degree·F, for a random weighting of the outputs; True where that is no number.

    Args:
        run: F, from inputs to its outputs.
        inputs: The example.
        degree: k.
    """
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    generator = torch.Generator().manual_seed(0)
    parts, sizes = [], []
    for y in run(tuple(leaf.clone() for leaf in leaves)):
        weights = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y.device)
        parts.append((y.double() if not y.is_complex() else y.real.double()) * weights)
        sizes.append(parts[-1].detach().abs().sum())
    total = torch.stack([part.sum() for part in parts]).sum()
    if not total.requires_grad:
        return degree == 0 or bool(total == 0)
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    products = [(x.detach() * g).double() for x, g in zip(leaves, gradients, strict=True) if g is not None]
    left = torch.stack([p.sum() for p in products]).sum() if products else torch.zeros((), dtype=torch.float64)
    size = torch.stack([*(p.abs().sum() for p in products), *(abs(degree) * s for s in sizes)]).sum()
    if not bool(torch.isfinite(left) & torch.isfinite(total)):
        return True
    tolerance = max(_TOLERANCE.get(x.dtype, _COARSE) for x in leaves)
    return bool((left - degree * total.detach()).abs() <= tolerance * size)
