"""How many steps Integrated Gradients needs on texts, and that X-Gradient is it where the network is of degree 1."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from captum_xg.repro.texts.explaining import integrated_gradients, x_gradient
from captum_xg.repro.texts.networks import Score
from captum_xg.repro.texts.training import trimmed

TRIED = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200)
TOLERANCE = 0.01
EQUAL_STEPS = 64
"""Of Captum's Integrated Gradients that X-Gradient is compared with; Gauss–Legendre is exact there from 2 on."""


def relative_error(found: Tensor, reference: Tensor) -> Tensor:
    """Return the sum of absolute differences over that of the reference, for each text of ``(N, T)``."""
    return (found - reference).abs().sum(1) / reference.abs().sum(1).clamp(min=1e-300)


def steps_needed(score: Score, ids: Tensor, reference_steps: int) -> list[int | None]:
    """Return for each text from how many steps on the error is at most 1 %; None if none of those tried is enough.

    In float64, against the integral by many steps, so that rounding is no part of the question.
    """
    wide, part = copy.deepcopy(score).double(), trimmed(ids)
    reference = integrated_gradients(wide, part, reference_steps)
    tried = [steps for steps in TRIED if steps < reference_steps]
    errors = torch.stack([relative_error(integrated_gradients(wide, part, n), reference).cpu() for n in tried])
    # The error may fall below the bound by luck and rise again: only what holds from there on counts.
    good = (errors <= TOLERANCE).long().flip(0).cumprod(0).flip(0).T
    return [tried[row.tolist().index(1)] if bool(row.any()) else None for row in good]


def difference_from_integral(score: Score, ids: Tensor) -> float:
    """Return the largest relative error of X-Gradient against Integrated Gradients by 64 steps, in float64."""
    wide, part = copy.deepcopy(score).double(), trimmed(ids)
    return float(relative_error(x_gradient(wide)(part), integrated_gradients(wide, part, EQUAL_STEPS)).max())


@torch.no_grad()
def missing_sum(score: Score, ids: Tensor) -> float:
    """Return the largest gap between a score and the sum of its tokens' X-Gradient, as a share of their sizes."""
    part = trimmed(ids)
    with torch.enable_grad():
        found = x_gradient(score)(part)
    return float(((found.sum(1) - score(part)).abs() / found.abs().sum(1).clamp(min=1e-30)).max())
