"""Slow references of exact Integrated Gradients: walks along a line that know nothing of operations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad


def by_pieces(forward: Callable[[Tensor], Tensor], x: Tensor, b: Tensor, breakpoints: Tensor) -> Tensor:
    """Return ∫∇F(b + α(x − b)) dα of a single example whose gradient changes at given places only.

    Raises:
        AssertionError: If the gradient differs between places of one piece, its ends among them.
    """
    widths = breakpoints.diff()
    shares = torch.tensor([1e-3, 0.11, 0.37, 0.5, 0.73, 1 - 1e-3], dtype=torch.float64)
    alpha = (breakpoints[:-1, None] + shares * widths[:, None]).flatten()
    at = (b + alpha.view(-1, *[1] * (x.dim() - 1)) * (x - b)).requires_grad_()
    (gradient,) = torch.autograd.grad(forward(at).sum(), at)
    gradient = gradient.unflatten(0, (len(widths), len(shares)))
    wide = widths > 1e-9  # in narrower ones, rounding of breakpoints decides
    torch.testing.assert_close(gradient[wide], gradient[wide][:, :1].expand_as(gradient[wide]), rtol=1e-9, atol=1e-10)
    return torch.tensordot(widths, gradient[:, 3], dims=1).unsqueeze(0)


def by_sums(forward: Callable[[Tensor], Tensor], x: Tensor, b: Tensor, points: int) -> Tensor:
    """Return the mean gradient at midpoints of that many cells, of a single example."""
    alpha = ((torch.arange(points, dtype=torch.float64) + 0.5) / points).view(-1, *[1] * (x.dim() - 1))
    at = (b + alpha * (x - b)).requires_grad_()
    (gradient,) = torch.autograd.grad(forward(at).sum(), at)
    return gradient.mean(0, keepdim=True)


def region_by_region(model: nn.Module, x: Tensor, b: Tensor, target: int) -> tuple[Tensor, int]:
    """Return ∫∇F dα and the number of pieces of a network whose kinks are in ReLU modules, one region after another.

    Forward-mode derivatives of all activations tell which one changes its sign next; there the next region begins.
    """
    away: list[Tensor] = []

    def look(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        primal, tangent = forward_ad.unpack_dual(args[0])
        away.append((-primal / tangent).detach().flatten())

    handles = [m.register_forward_pre_hook(look) for m in model.modules() if isinstance(m, nn.ReLU)]
    total, alpha, pieces, step = torch.zeros_like(x), 0.0, 0, 1e-12
    try:
        while alpha < 1:
            away.clear()
            at = (b + (alpha + step) * (x - b)).requires_grad_()
            with forward_ad.dual_level():
                value = model(forward_ad.make_dual(at, x - b))[:, target].sum()
            (gradient,) = torch.autograd.grad(value, at)
            distances = torch.cat(away)
            ahead = distances[distances > 0]
            end = min(1.0, alpha + step + float(ahead.min())) if len(ahead) else 1.0
            total += (end - alpha) * gradient
            alpha, pieces = end, pieces + 1
    finally:
        for handle in handles:
            handle.remove()
    return total, pieces
