"""Attributions once more, slowly, from their formulas: one example, one position, one sample at a time.

Nothing imports captum_xg. A *score* takes the outputs of one example and its number and gives one number. Examples are
not detached, so that a result keeps its path to whatever they, and the function, were computed from.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Score = Callable[[Tensor, int], Tensor]


def gradient(f: Callable[..., Tensor], xs: tuple[Tensor, ...], score: Score) -> tuple[Tensor, ...]:
    """∂ score(f(x)) / ∂x, example by example."""
    rows = []
    for i in range(len(xs[0])):
        own = tuple(_differentiable(x[i : i + 1]) for x in xs)
        rows.append(torch.autograd.grad(score(f(*own)[0], i), own, create_graph=True, materialize_grads=True))
    return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))


def input_times_gradient(
    f: Callable[..., Tensor], xs: tuple[Tensor, ...], score: Score, degree: float = 1
) -> tuple[Tensor, ...]:
    """x ⊙ ∂ score(f(x)) / ∂x / k."""
    return tuple(x * g / degree for x, g in zip(xs, gradient(f, xs, score), strict=True))


def integrated_gradients(
    f: Callable[..., Tensor], xs: tuple[Tensor, ...], baselines: tuple[Tensor, ...], score: Score, n_steps: int
) -> tuple[Tensor, ...]:
    """(x − b) ⊙ Σ_j w_j ∂f(b + t_j (x − b)), with the nodes and weights of Gauss and Legendre on [0, 1]."""
    totals = [torch.zeros_like(x) for x in xs]
    for node, weight in zip(*np.polynomial.legendre.leggauss(n_steps), strict=True):
        t = (float(node) + 1) / 2
        points = tuple(b + t * (x - b) for x, b in zip(xs, baselines, strict=True))
        found = gradient(f, points, score)
        totals = [total + float(weight) / 2 * g for total, g in zip(totals, found, strict=True)]
    return tuple((x - b) * total for x, b, total in zip(xs, baselines, totals, strict=True))


def expected_gradients(
    f: Callable[..., Tensor],
    xs: tuple[Tensor, ...],
    references: tuple[Tensor, ...],
    alphas: Tensor,
    score: Score,
) -> tuple[Tensor, ...]:
    """Mean over j of (x − r_j) ⊙ ∂f(r_j + α_j (x − r_j)), with references (N, k, …) and alphas (N, k)."""
    n, k = alphas.shape
    rows = []
    for i in range(n):
        total = [torch.zeros_like(x[i : i + 1]) for x in xs]
        for j in range(k):
            start = tuple(r[i, j].unsqueeze(0) for r in references)
            step = tuple(x[i : i + 1] - r for x, r in zip(xs, start, strict=True))
            point = tuple(r + alphas[i, j] * s for r, s in zip(start, step, strict=True))
            found = gradient(f, point, lambda row, _, i=i: score(row, i))
            total = [t + s * g / k for t, s, g in zip(total, step, found, strict=True)]
        rows.append(total)
    return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))


def class_score(labels: Tensor, reduction: str = "mean", ignore: int = -100) -> Score:
    """The number at the example's class; over positions their mean or sum, without those that are ignored."""

    def score(row: Tensor, i: int) -> Tensor:
        columns = row.reshape(len(row), -1)
        picked = [columns[int(c), p] for p, c in enumerate(labels[i].reshape(-1)) if int(c) != ignore]
        total = sum(picked, columns.sum() * 0)
        return total / len(picked) if picked and reduction == "mean" else total

    return score


def log_probability_score(row: Tensor, _: int) -> Tensor:
    """Σ_c log p_c by exponentials: of a softmax, or of σ(z) and 1 − σ(z) for one logit."""
    if row.numel() == 1:
        p = 1 / (1 + torch.exp(-row.reshape(())))
        return torch.log(p) + torch.log(1 - p)
    powers = torch.exp(row)
    return sum(torch.log(power / powers.sum()) for power in powers)


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean over examples of −log p of the label; for one logit of −log of σ(z) or 1 − σ(z)."""
    terms = []
    for row, label in zip(outputs, labels.reshape(len(outputs), -1), strict=True):
        if row.numel() == 1:
            p = 1 / (1 + torch.exp(-row.reshape(())))
            terms.append(-torch.log(p if int(label) else 1 - p))
        else:
            terms.append(-torch.log(torch.exp(row[int(label)]) / torch.exp(row).sum()))
    return torch.stack(terms).mean()


def slope(function: Callable[[], Tensor], parameters: list[Tensor], direction: list[Tensor], h: float = 1e-5) -> float:
    """The derivative of a number by parameters in a direction, from two evaluations on either side."""
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(sign * h * d)
        values.append(float(function().detach()))
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.sub_(sign * h * d)
    return (values[0] - values[1]) / (2 * h)


def _differentiable(x: Tensor) -> Tensor:
    return x if x.requires_grad else x.detach().clone().requires_grad_()
