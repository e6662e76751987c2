"""Slow, obvious re-implementations from the formulas, one example at a time. Nothing here imports captum_xg.

A forward function takes one tensor per input, of shape ``(1, …)``, and gives an output of shape ``(1, …)``; ``index``
picks one number of that output (None if there is only one).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

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


def layer_values(model: nn.Module, layer: nn.Module, inputs: tuple[Tensor, ...], at_input: bool) -> tuple[Tensor, ...]:
    """What a layer gives, or gets, in one forward pass."""
    kept: list[tuple[Tensor, ...]] = []

    def keep(_: nn.Module, arguments: tuple[Tensor, ...], result: Tensor | tuple[Tensor, ...] | None = None) -> None:
        seen = arguments if at_input else result
        kept.append(tuple(h.detach().clone() for h in (seen if isinstance(seen, tuple) else (seen,))))

    hook = layer.register_forward_pre_hook(keep) if at_input else layer.register_forward_hook(keep)
    with torch.no_grad():
        model(*(x.clone() for x in inputs))
    hook.remove()
    return kept[0]


def behind(model: nn.Module, layer: nn.Module, inputs: tuple[Tensor, ...], at_input: bool) -> Forward:
    """The function of what a layer gives, or gets, with all else as it is at the inputs, given in their place."""

    def run(*values: Tensor) -> Tensor:
        def give(_: nn.Module, arguments: object, result: object = None) -> Tensor | tuple[Tensor, ...]:
            return values if at_input or isinstance(result, tuple) else values[0]

        hook = layer.register_forward_pre_hook(give) if at_input else layer.register_forward_hook(give)
        output = model(*(x.clone() for x in inputs))
        hook.remove()
        # What the layer gives but nobody uses has a gradient of zero.
        return output + sum(0 * h.sum().to(output.dtype) for h in values)

    return run


def layer_integrated_gradients(
    model: nn.Module,
    layer: nn.Module,
    inputs: tuple[Tensor, ...],
    index: Index,
    at_input: bool = False,
    nodes: int = 16,
) -> tuple[Tensor, ...]:
    """Integrated Gradients from zero to what a layer gives, or gets, at each example alone, in float64."""
    rows = []
    for i in range(len(inputs[0])):
        x = tuple(part[i : i + 1] for part in inputs)
        values = layer_values(model, layer, x, at_input)
        rows.append(integrated_gradients(behind(model, layer, x, at_input), values, index_of(index, i), nodes))
    return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))


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


def expected_x_gradient(
    forward: Forward, inputs: tuple[Tensor, ...], baselines: tuple[Tensor, ...], index: Index, degree: float = 1
) -> tuple[Tensor, ...]:
    """x·∇F(x)/k less the mean of b·∇F(b)/k, each baseline with the target of each example."""
    rows = []
    for i in range(len(inputs[0])):
        own = index_of(index, i)
        here = input_x_gradient(forward, tuple(x[i : i + 1] for x in inputs), own)
        there = input_x_gradient(forward, baselines, own)
        rows.append(tuple((a - b.mean(0, keepdim=True)) / degree for a, b in zip(here, there, strict=True)))
    return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))


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
