"""How much the outputs of a converted model have in common with those of the original."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._text import displayed


@displayed
@dataclass(frozen=True)
class Agreement:
    """The outputs of the model after one stage of the conversion, compared with those of the original.

    Attributes:
        stage: What had been done.
        changes: How many modules it changed.
        difference: Σ|F − F₀| / Σ|F₀| over all examples and outputs.
        top1: Share of the examples whose largest output is in the same place; None for fewer than two outputs.
        correlation: Pearson correlation of the outputs of one example, averaged over examples; over the examples where
            there is one output each; None where outputs do not vary.
        examples: Number of examples.
    """

    stage: str
    changes: int
    difference: float
    top1: float | None
    correlation: float | None
    examples: int


def compare(stage: str, changes: int, before: Tensor, after: Tensor) -> Agreement:
    """Return how much two outputs of shape ``(N, …)`` have in common."""
    n = before.shape[0]
    reference, other = (y.detach().double().reshape(n, -1) for y in (before, after))
    top1 = None
    if reference.shape[1] > 1:
        top1 = float((reference.argmax(1) == other.argmax(1)).double().mean())
    return Agreement(stage, changes, relative_difference(before, after), top1, _correlation(reference, other), n)


def relative_difference(before: Tensor, after: Tensor) -> float:
    """Return Σ|after − before| / Σ|before|, 0 where both are zero."""
    reference, other = before.detach().double(), after.detach().double()
    change = (other - reference).abs().sum()
    return 0.0 if change == 0 else float(change / reference.abs().sum())


def _correlation(reference: Tensor, other: Tensor) -> float | None:
    if reference.shape[1] == 1:
        reference, other = reference.T, other.T
    centred = [y - y.mean(1, keepdim=True) for y in (reference, other)]
    lengths = [torch.linalg.vector_norm(y, dim=1) for y in centred]
    # Outputs that are equal but for rounding have no variation to correlate.
    floor = 1e-12 * torch.linalg.vector_norm(reference, dim=1)
    varied = (lengths[0] > floor) & (lengths[1] > 0)
    if not bool(varied.any()):
        return None
    products = (centred[0] * centred[1]).sum(1)[varied] / (lengths[0] * lengths[1])[varied]
    return float(products.mean())
