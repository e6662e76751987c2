"""The masking metrics once more, slowly, from the protocol: example by example, mask by mask. No captum_xg.

Both protocols: "paper", and "released" as the published numbers were made. Attributions are averaged over channels, one
mask per example; fractions are those of features that are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

FRACTIONS = [float(f) for f in np.geomspace(0.01, 1, 16)]
KINDS = ("KeepPositiveMask", "KeepNegativeMask", "KeepAbsoluteMask", "RemoveAbsoluteMask")


def kept_features(attribution: list[float], fraction: float, kind: str) -> set[int]:
    """Return which features of one example keep their value."""
    n = len(attribution)
    if kind == "KeepPositiveMask":
        importance = [max(a, 0.0) for a in attribution]
    elif kind == "KeepNegativeMask":
        importance = [max(-a, 0.0) for a in attribution]
    else:
        importance = [abs(a) for a in attribution]
    # The most important first; of equal ones the first counts as the more important.
    ranking = sorted(range(n), key=lambda i: (-importance[i], i))
    candidates = [i for i in ranking if importance[i] > 0]
    if kind != "RemoveAbsoluteMask":
        return set(candidates[: int(min(fraction * n, len(candidates)))])
    # Zeros are masked at every fraction, and of the others the least important are kept.
    k = int(min(fraction * n, len(candidates)))
    return set(candidates[len(candidates) - k :])


def curve_of_example(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    attribution: Tensor,
    target: int,
    values: Tensor,
    kind: str,
    fractions: list[float] = FRACTIONS,
    channel_dim: int | None = 0,
) -> list[float]:
    """Return the curve for one example without its batch dimension."""
    one = attribution if channel_dim is None else attribution.mean(channel_dim)
    curve = []
    for fraction in fractions:
        kept = kept_features(one.flatten().tolist(), fraction, kind)
        mask = torch.tensor([i in kept for i in range(one.numel())]).reshape(one.shape)
        if channel_dim is not None:
            mask = mask.unsqueeze(channel_dim)
        with torch.no_grad():
            output = model(torch.where(mask, x, values)[None])[0]
        if kind in ("KeepPositiveMask", "KeepNegativeMask"):
            curve.append(output[target].item())
        else:
            curve.append(100.0 if int(output.argmax()) == target else 0.0)
    return curve


def area(curve: list[float], fractions: list[float] = FRACTIONS) -> float:
    return sum((curve[p] + curve[p + 1]) / 2 * (fractions[p + 1] - fractions[p]) for p in range(len(curve) - 1))


def curve_of_images(
    model: Callable[[Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    kind: str,
    protocol: str,
    blurred: Callable[[Tensor], Tensor] | None = None,
    fractions: list[float] = FRACTIONS,
) -> list[float]:
    """Return the mean curve over batches of images, attributions and targets."""
    total = [0.0] * len(fractions)
    examples, sizes = 0, []
    for images, attributions, targets in batches:
        for x, a, y in zip(images, attributions, targets, strict=True):
            values = blur(x, protocol) if blurred is None else blurred(x)
            curve = curve_of_example(model, x, a, int(y), values, kind, fractions)
            total = [t + c for t, c in zip(total, curve, strict=True)]
            examples += 1
        sizes.append(len(images))
    divisor = examples if protocol == "paper" else len(sizes) * max(sizes)
    return [t / divisor for t in total]


def blur_weights(kernel_size: int, sigma: float, protocol: str) -> list[list[float]]:
    middle = (kernel_size - 1) / 2
    square = []
    for i in range(kernel_size):
        row = []
        for j in range(kernel_size):
            d2 = (i - middle) ** 2 + (j - middle) ** 2
            row.append(math.exp(-d2 / (2 * sigma**2)) if protocol == "paper" else math.exp(-d2 / (2 * sigma) ** 2))
        square.append(row)
    total = sum(map(sum, square))
    return [[w / total for w in row] for row in square]


def mirror(position: int, size: int) -> int:
    """Walk back and forth between the edges."""
    if size == 1:
        return 0
    while not 0 <= position < size:
        position = -position if position < 0 else 2 * (size - 1) - position
    return position


def blur(image: Tensor, protocol: str, kernel_size: int = 51, sigma: float = 41.0) -> Tensor:
    """Return one blurred image (C, H, W), as a two-dimensional sum under the kernel."""
    weights = torch.tensor(blur_weights(kernel_size, sigma, protocol), dtype=torch.float64)
    _, height, width = image.shape
    reach = kernel_size // 2
    result = torch.zeros_like(image)
    for i in range(height):
        for j in range(width):
            rows = [mirror(i + d, height) for d in range(-reach, reach + 1)]
            columns = [mirror(j + d, width) for d in range(-reach, reach + 1)]
            under = image[:, rows][:, :, columns].double()
            result[:, i, j] = (under * weights).sum((1, 2)).to(image)
    return result


def imputed(image: Tensor, masked: Tensor) -> Tensor:
    """Return an image (C, H, W) whose masked pixels are the weighted means of their neighbours, by a dense solve."""
    _, height, width = image.shape
    places = [(i, j) for i in range(height) for j in range(width) if masked[i, j]]
    number = {place: p for p, place in enumerate(places)}
    system = torch.zeros(len(places), len(places), dtype=torch.float64)
    right = torch.zeros(len(places), len(image), dtype=torch.float64)
    for (i, j), p in number.items():
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                other = (i + di, j + dj)
                if (di, dj) == (0, 0) or not (0 <= other[0] < height and 0 <= other[1] < width):
                    continue
                weight = 1 / 6 if di == 0 or dj == 0 else 1 / 12
                system[p, p] += weight
                if other in number:
                    system[p, number[other]] -= weight
                else:
                    right[p] += weight * image[:, other[0], other[1]].double()
    result = image.clone()
    for (i, j), value in zip(places, torch.linalg.solve(system, right), strict=True):
        result[:, i, j] = value.to(image)
    return result
