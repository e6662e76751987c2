"""Slow, obvious re-implementations from the formulas, one example at a time. Nothing here imports captum_xg.

A forward function takes one tensor per input, of shape ``(1, …)``, and gives an output of shape ``(1, …)``; ``index``
picks one number of that output (None if there is only one).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Forward = Callable[..., Tensor]
Index = int | tuple[int, ...] | None


def gradients(forward: Forward, inputs: tuple[Tensor, ...], index: Index = None) -> tuple[Tensor, ...]:
    """∂F/∂x of every example, by one backward pass each."""
    rows = [_gradient(forward, tuple(x[i : i + 1] for x in inputs), index_of(index, i)) for i in range(len(inputs[0]))]
    return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))


def values(forward: Forward, inputs: tuple[Tensor, ...], index: Index = None) -> Tensor:
    """F(x) of every example."""
    with torch.no_grad():
        return torch.stack(
            [
                _pick(forward(*(x[i : i + 1].detach().clone() for x in inputs)), index_of(index, i))
                for i in range(len(inputs[0]))
            ]
        )


def input_x_gradient(forward: Forward, inputs: tuple[Tensor, ...], index: Index = None) -> tuple[Tensor, ...]:
    """x·∂F/∂x of every example."""
    return tuple(x.detach() * g for x, g in zip(inputs, gradients(forward, inputs, index), strict=True))


def mean_gradients(
    forward: Forward, inputs: tuple[Tensor, ...], index: Index = None, nodes: int = 16
) -> tuple[Tensor, ...]:
    r"""∫₀¹ ∂F(αx)/∂xᵢ dα in float64, without the factor xᵢ.

    With α = t⁴ it is ∫₀¹ 4t³·∂F(t⁴x)/∂xᵢ dt, whose integrand is the polynomial 4t^(4k−1)·∂F(x)/∂xᵢ for every degree k
    that is a multiple of ¼. Gauss–Legendre quadrature with n nodes is exact for polynomials of degree 2n − 1, so 16
    nodes are exact up to k = 8.
    """
    points, weights = np.polynomial.legendre.leggauss(nodes)
    totals = [torch.zeros_like(x, dtype=torch.float64) for x in inputs]
    for i in range(len(inputs[0])):
        for point, weight in zip(points, weights, strict=True):
            t = (float(point) + 1) / 2
            here = tuple(t**4 * x[i : i + 1].detach().double() for x in inputs)
            for total, gradient in zip(totals, _gradient(forward, here, index_of(index, i)), strict=True):
                total[i] += float(weight) / 2 * 4 * t**3 * gradient[0]
    return tuple(totals)


def integrated_gradients(
    forward: Forward, inputs: tuple[Tensor, ...], index: Index = None, nodes: int = 16
) -> tuple[Tensor, ...]:
    """xᵢ·∫₀¹ ∂F(αx)/∂xᵢ dα in float64: Integrated Gradients against zero."""
    means = mean_gradients(forward, inputs, index, nodes)
    return tuple(x.detach().double() * mean for x, mean in zip(inputs, means, strict=True))


def index_of(index: Index | list[int] | list[tuple[int, ...]] | Tensor, example: int) -> Index:
    """Return the index that is meant for one example: its own entry of a list or tensor, or the one for all."""
    if isinstance(index, Tensor):
        return int(index.flatten()[example if index.numel() > 1 else 0])
    return index[example] if isinstance(index, list) else index


def _gradient(forward: Forward, example: tuple[Tensor, ...], index: Index) -> tuple[Tensor, ...]:
    leaves = tuple(x.detach().clone().requires_grad_() for x in example)
    # A copy each: the first layer may work in place.
    return torch.autograd.grad(_pick(forward(*(leaf.clone() for leaf in leaves)), index), leaves)


def _pick(output: Tensor, index: Index) -> Tensor:
    if index is None:
        return output.reshape(())
    return output[0][index]


def path_integral(
    forward: Forward, x: Tensor, baseline: Tensor, index: Index = None, steps: int = 10_000
) -> tuple[Tensor, Tensor]:
    r"""(x − b)·∫₀¹ ∂F(b + α(x − b))/∂x dα of one example in float64 by midpoints, and F(x) − F(b).

    With α = t⁴ it is ∫₀¹ 4t³·∂F(b + t⁴(x − b))/∂x dt, so that what happens at α = 1e-6 gets its share of the steps. The
    forward function must be in float64 and treat rows separately, as many of them go through it at once.
    """
    start, step = baseline.detach().double(), (x - baseline).detach().double()
    total = torch.zeros_like(start[0])
    for t in ((torch.arange(steps, dtype=torch.float64) + 0.5) / steps).split(2_500):
        points = (start + (t**4).view(-1, *[1] * (x.dim() - 1)) * step).requires_grad_()
        output = forward(points)
        score = output.reshape(len(points)) if index is None else output[(slice(None), index)]
        (gradient,) = torch.autograd.grad(score.sum(), points)
        total += torch.einsum("n,n...->...", 4 * t**3 / steps, gradient)
    ends = values(forward, (torch.cat([start, start + step]),), index)
    return step[0] * total, ends[1] - ends[0]
