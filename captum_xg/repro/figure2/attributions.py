r"""Attributions at two contrasts: one gradient beside Integrated Gradients, and what contrast makes of each.

Attributions are in float64, so that what differs is the network's doing and not that of rounding. Two of them are
compared up to a positive factor, as the pictures of the paper are: by the distance of what is scaled to ‖a‖₁ = 1,

.. math:: d(a, b) = \tfrac12 \sum_i \left| \frac{a_i}{\|a\|_1} - \frac{b_i}{\|b\|_1} \right|

which is 0 for equal ones and 1 where they have nothing in common, and by Spearman's correlation of their ranks.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any, NamedTuple

import torch
from captum.attr import InputXGradient, IntegratedGradients
from torch import Tensor, nn

from captum_xg.attr.x_gradient import XGradient

STEPS = 128
LOW = 0.3
"""The contrast that the paper shows."""
FULL = 1.0
PAIRS = ("single and IG at α = 1", "single and IG at α = 0.3", "single at both contrasts", "IG at both contrasts")


class AtContrast(NamedTuple):
    """Attributions of a batch at one contrast: by one gradient, and by Integrated Gradients."""

    single: Tensor
    ig: Tensor


class Contrasts(NamedTuple):
    """Attributions of a batch at both contrasts.

    Attributes:
        images: As they are at α = 1.
        full: At α = 1.
        low: At α = 0.3.
        halved: For an X-DNN whether, for each image, X-Gradient at α = ½ is half of that at 1 to the last bit.
    """

    images: Tensor
    full: AtContrast
    low: AtContrast
    halved: list[bool]


def at_both(model: nn.Module, images: Tensor, labels: Tensor, *, xdnn: bool) -> Contrasts:
    """Return attributions of the logit of the label: X-Gradient for an X-DNN, else input × gradient, and IG.

    Raises:
        HomogeneityError: If the network is called an X-DNN and is none.
    """
    wide, x = copy.deepcopy(model).double(), images.double()
    ig = IntegratedGradients(wide)

    def single(x: Tensor) -> Tensor:
        if xdnn:
            return XGradient(wide, validate="numeric").attribute(x, target=labels)
        with warnings.catch_warnings():
            # Captum says that it sets requires_grad, of a tensor that is ours.
            warnings.filterwarnings("ignore", message=r".*did not already require gradients")
            found: Tensor = InputXGradient(wide).attribute(x.clone(), target=labels)
        return found.detach()

    def both(alpha: float) -> AtContrast:
        shown = alpha * x
        integrated = ig.attribute(shown, target=labels, n_steps=STEPS, internal_batch_size=max(STEPS, len(x)))
        return AtContrast(single(shown), integrated.detach())

    full, low = both(FULL), both(LOW)
    halved = (single(0.5 * x) == 0.5 * full.single).flatten(1).all(1).tolist() if xdnn else []
    return Contrasts(x, full, low, halved)


def compared(found: Contrasts) -> dict[str, Any]:
    """Return how far attributions are apart, for each image: pair → ``distance`` and ``correlation``.

    Beside them stand ``halved`` and ``on_zeros``, the share of the absolute single-gradient attribution that lies on
    numbers of the input that are 0.
    """
    full, low = found.full, found.low
    pairs = ((full.single, full.ig), (low.single, low.ig), (full.single, low.single), (full.ig, low.ig))
    numbers: dict[str, Any] = {
        name: {"distance": distance(a, b).tolist(), "correlation": rank_correlation(a, b).tolist()}
        for name, (a, b) in zip(PAIRS, pairs, strict=True)
    }
    on_zeros = (_unit(full.single.flatten(1)).abs() * (found.images == 0).flatten(1)).sum(1)
    return {**numbers, "halved": found.halved, "on_zeros": on_zeros.tolist()}


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Return d(a, b) of each example, shape ``(N,)``; an attribution of zeros stays zeros."""
    first, second = (_unit(each.flatten(1)) for each in (a, b))
    return (first - second).abs().sum(1) / 2


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's correlation of each example over pixels (channels summed), shape ``(N,)``; 0 if undefined."""
    found = []
    for first, second in zip(a.sum(1).flatten(1), b.sum(1).flatten(1), strict=True):
        x, y = (_ranks(each) - (each.numel() - 1) / 2 for each in (first, second))
        size = x.norm() * y.norm()
        found.append(torch.where(size > 0, (x @ y) / size.clamp_min(1e-300), torch.zeros_like(size)))
    return torch.stack(found)


def _unit(a: Tensor) -> Tensor:
    norm = a.abs().sum(1, keepdim=True)
    return a / torch.where(norm > 0, norm, torch.ones_like(norm))


def _ranks(values: Tensor) -> Tensor:
    """Return the rank of each value from 0; equal ones, such as those of black pixels, share their mean rank."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    means: Tensor = counts.cumsum(0).double() - (counts.double() + 1) / 2
    return means[place]
