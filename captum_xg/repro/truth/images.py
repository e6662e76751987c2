r"""Small images with a pattern that decides and others that provably do not, in double precision.

What is true, and why: methods that follow a path from black to an image, or take pixels away from it, see the box
[0, x] only. On that box F depends on the pattern's pixels alone, for what any other window could respond at most, the
sum of its positive weights times pixels, stays below the threshold (templates) or is zero (colours). This is checked
for every window of every image, and images that fail are drawn again. So by Dummy all other pixels get nothing. Within
the pattern, F is relu(Σ z_i − θ) of five pixels of equal brightness, which symmetric methods have to share evenly
(templates), or linear (colours).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from captum_xg.repro.truth.networks import Problem

SIDE, THRESHOLD, CELLS = 12, 4.4, 5
"""Pixels, what a template's response has to exceed, and how many cells of 3×3 it has."""
_DOUBLE = torch.float64


def templates(generator: torch.Generator, count: int) -> Problem:
    """Return the largest response to a pattern of five pixels above a threshold, which other patterns do not reach."""
    cells = torch.randperm(9, generator=generator)[:CELLS]
    positive = torch.zeros(9, dtype=_DOUBLE)
    positive[cells] = 1
    pattern = positive.reshape(1, 1, 3, 3)
    layer = nn.Conv2d(1, 1, 3, dtype=_DOUBLE)
    layer.weight = nn.Parameter(2 * pattern - 1)
    layer.bias = nn.Parameter(torch.tensor([-THRESHOLD], dtype=_DOUBLE))
    model = nn.Sequential(layer, nn.ReLU(), nn.MaxPool2d(SIDE - 2), nn.Flatten())
    images: list[Tensor] = []
    regions: list[Tensor] = []
    while len(images) < count:
        image, region = torch.zeros(SIDE, SIDE, dtype=_DOUBLE), torch.zeros(SIDE, SIDE, dtype=torch.bool)
        bright = 1 + 0.08 * float(torch.rand((), generator=generator))
        rows = torch.randint(SIDE - 2, (5, 2), generator=generator).tolist()
        for i, (top, left) in enumerate(rows):
            other = torch.zeros(9, dtype=_DOUBLE)
            other[torch.randperm(9, generator=generator)[: CELLS - 1]] = 1
            image[top : top + 3, left : left + 3] = bright * (pattern if i == 0 else other).reshape(3, 3)
        top, left = rows[0]
        region[top : top + 3, left : left + 3] = pattern.reshape(3, 3) > 0
        most = conv2d(image[None, None], pattern)[0, 0]
        at_pattern = float(most[top, left])
        most[top, left] = 0
        whole = bool((image[top : top + 3, left : left + 3] == bright * pattern.reshape(3, 3)).all())
        if whole and float(most.max()) < THRESHOLD < at_pattern:
            images.append(image[None])
            regions.append(region)
    inputs, region = torch.stack(images), torch.stack(regions).flatten(1)
    value = inputs.flatten(1).mul(region).sum(1, keepdim=True) - THRESHOLD
    return Problem(model, inputs, torch.arange(SIDE * SIDE), value / CELLS * region, region)


def colours(generator: torch.Generator, count: int) -> Problem:
    """Return the sum of responses that red pixels raise and green ones lower, with green far from red; no biases."""
    kernel = torch.rand(1, 2, 3, 3, generator=generator, dtype=_DOUBLE) + 0.2
    kernel[:, 1] *= -1
    windows = (SIDE - 2) ** 2
    layer, total = nn.Conv2d(2, 1, 3, bias=False, dtype=_DOUBLE), nn.Linear(windows, 1, bias=False, dtype=_DOUBLE)
    layer.weight = nn.Parameter(kernel)
    total.weight = nn.Parameter(torch.ones(1, windows, dtype=_DOUBLE))
    model = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), total)
    ones = torch.ones(1, 1, 3, 3, dtype=_DOUBLE)
    images: list[Tensor] = []
    while len(images) < count:
        image = torch.zeros(2, SIDE, SIDE, dtype=_DOUBLE)
        for channel in (0, 1, 1, 1):
            top, left = torch.randint(SIDE - 2, (2,), generator=generator).tolist()
            image[channel, top : top + 3, left : left + 3] = torch.rand(3, 3, generator=generator, dtype=_DOUBLE)
        seen = conv2d(image[:, None], ones)[:, 0] > 0
        if not bool((seen[0] & seen[1]).any()):  # no window has both
            images.append(image)
    inputs = torch.stack(images)
    weights = conv_transpose2d(torch.ones(1, 1, SIDE - 2, SIDE - 2, dtype=_DOUBLE), kernel)
    truth = inputs * weights
    truth[:, 1] = 0
    return Problem(model, inputs, torch.arange(inputs[0].numel()), truth.flatten(1), (truth != 0).flatten(1))
