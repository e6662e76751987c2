"""The priors once more, slowly, from their formulas: loops over examples, features and pairs. No captum_xg.

Each takes attributions of shape ``(N, …)`` and gives one number, through which autograd can go.
"""

from __future__ import annotations

import cmath
import itertools
import math

import torch
from torch import Tensor


def pairwise_gini(a: Tensor) -> Tensor:
    """ΣᵢΣⱼ|aᵢ − aⱼ| / (2nΣa) of a vector; 0 where there is nothing."""
    if not bool((a != 0).any()):
        return a.sum() * 0
    return (a[:, None] - a[None, :]).abs().sum() / (2 * len(a) * a.sum())


def gini_of_batch_mean(A: Tensor) -> Tensor:
    return -pairwise_gini(torch.stack([x.reshape(-1).abs() for x in A]).mean(0))


def mean_of_ginis(A: Tensor) -> Tensor:
    return torch.stack([-pairwise_gini(x.reshape(-1).abs()) for x in A]).mean()


def total_variation(A: Tensor, dims: int, power: int, wrap: bool) -> Tensor:
    total = A.sum() * 0
    for x in A:
        sizes = x.shape[x.dim() - dims :]
        for channel in x.reshape(-1, *sizes):
            for place in itertools.product(*map(range, sizes)):
                for d in range(dims):
                    step = place[d] + 1
                    if step == sizes[d] and not wrap:
                        continue
                    neighbour = (*place[:d], step % sizes[d], *place[d + 1 :])
                    total = total + (channel[neighbour] - channel[place]).abs() ** power
    return total / len(A)


def graph_smoothness(rows: Tensor, adjacency: Tensor, power: int) -> Tensor:
    """Over unordered pairs, with rows (N, n) and a symmetric adjacency matrix."""
    total = rows.sum() * 0
    for a in rows:
        for i, j in itertools.combinations(range(len(a)), 2):
            total = total + adjacency[i, j] * (a[i] - a[j]).abs() ** power
    return total / len(rows)


def right_reasons(A: Tensor, masks: Tensor) -> Tensor:
    """With one mask of the full shape for each example."""
    total = A.sum() * 0
    for a, m in zip(A.flatten(1), masks.flatten(1), strict=True):
        for i in range(len(a)):
            total = total + (m[i] * a[i]) ** 2
    return total / len(A)


def energy_outside(A: Tensor, regions: Tensor, positive: bool) -> Tensor:
    shares = []
    for a, r in zip(A.flatten(1), regions.flatten(1), strict=True):
        energy = [torch.clamp(v, min=0) if positive else v.abs() for v in a]
        total = sum(energy)
        inside = sum(w * e for w, e in zip(r, energy, strict=True))
        shares.append(1 - inside / total if total > 0 else a.sum() * 0)
    return torch.stack(shares).mean()


def region_of_boxes(boxes: Tensor, n: int, channels: int, height: int, width: int) -> Tensor:
    """1 at the pixels in any of the boxes (n, K, 4)."""
    region = torch.zeros(n, channels, height, width)
    for i in range(n):
        for x1, y1, x2, y2 in boxes[i].tolist():
            for y, x in itertools.product(range(height), range(width)):
                if x1 <= x < x2 and y1 <= y < y2:
                    region[i, :, y, x] = 1
    return region


def band_energy(A: Tensor, dims: int, low: float, high: float, relative: bool) -> Tensor:
    """The full spectrum by its definition, one exponential at a time."""
    results = []
    for x in A:
        sizes = x.shape[x.dim() - dims :]
        n = math.prod(sizes)
        inside, everything = x.sum() * 0, x.sum() * 0
        for k in itertools.product(*map(range, sizes)):
            frequencies = [(i if i <= size / 2 else i - size) / size for i, size in zip(k, sizes, strict=True)]
            f = math.sqrt(sum(v * v for v in frequencies))
            waves = [
                cmath.exp(-2j * math.pi * sum(i * p / size for i, p, size in zip(k, place, sizes, strict=True)))
                for place in itertools.product(*map(range, sizes))
            ]
            real = torch.tensor([w.real for w in waves], dtype=x.dtype)
            imaginary = torch.tensor([w.imag for w in waves], dtype=x.dtype)
            for channel in x.reshape(-1, n):
                energy = ((channel * real).sum() ** 2 + (channel * imaginary).sum() ** 2) / n
                everything = everything + energy
                if (f >= low or math.isclose(f, low)) and not (f >= high or math.isclose(f, high)):
                    inside = inside + energy
        results.append(inside / everything if relative and everything > 0 else inside)
    return torch.stack(results).mean()


def lp_norm(A: Tensor, p: float) -> Tensor:
    norms = []
    for a in A.reshape(len(A), -1):
        magnitudes = [v.abs() for v in a]
        norms.append(torch.stack(magnitudes).max() if math.isinf(p) else sum(m**p for m in magnitudes) ** (1 / p))
    return torch.stack(norms).mean()


def group_lasso(A: Tensor, groups: list[list[int]]) -> Tensor:
    total = A.sum() * 0
    for a in A.flatten(1):
        for group in groups:
            total = total + math.sqrt(len(group)) * torch.sqrt(sum(a[i] ** 2 for i in group))
    return total / len(A)
