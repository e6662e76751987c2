"""X-Gradient beside Captum's Integrated Gradients on one network: how equal, how complete, how fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from tqdm import tqdm

from captum_xg.attr.x_gradient import XGradient

BATCH = 8
"""Images per call: small enough that Integrated Gradients' interpolated images fit into any memory."""


@dataclass(frozen=True)
class Method:
    """What one method gave on all images.

    Attributes:
        name: As shown.
        attributions: Shape of the images.
        completeness_error: The largest |Σ attributions − (F(x) − F(0))| / |F(x) − F(0)| of an image.
        gradient_evaluations: Per image.
        seconds: For all images.
    """

    name: str
    attributions: Tensor
    completeness_error: float
    gradient_evaluations: int
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """Integrated Gradients and X-Gradient on the same network and images."""

    integrated_gradients: Method
    x_gradient: Method

    @property
    def differences(self) -> Tensor:
        """The largest |IG − XG| of each image, relative to its largest |IG|; shape ``(N,)``."""
        ig, xg = self.integrated_gradients.attributions.flatten(1), self.x_gradient.attributions.flatten(1)
        return (ig - xg).abs().amax(1) / ig.abs().amax(1)

    @property
    def speed_ratio(self) -> float:
        """Seconds of Integrated Gradients per second of X-Gradient."""
        return self.integrated_gradients.seconds / self.x_gradient.seconds


def compare(
    model: nn.Module, images: Tensor, labels: Tensor, *, n_steps: int, validated: bool, title: str
) -> Comparison:
    """Explain the logit of the label of every image with both methods, batch by batch in turn.

    ``validated`` is whether X-Gradient proves and tests homogeneity, as by default: on a model that is not homogeneous
    it must be False to get a number at all. The progress bar appears when this takes more than two seconds.
    """
    ig, xg = IntegratedGradients(model), XGradient(model, validate="auto" if validated else "off")
    methods: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
        lambda x, y: ig.attribute(x, target=y, n_steps=n_steps, internal_batch_size=16 * len(x)).detach(),
        lambda x, y: xg.attribute(x, target=y),
    )
    for method in methods:  # the first call of a shape pays for choosing kernels
        method(images[:BATCH], labels[:BATCH])
    seconds, parts = [0.0, 0.0], ([], [])  # type: tuple[list[float], tuple[list[Tensor], list[Tensor]]]
    batches = list(zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True))
    for x, y in tqdm(batches, desc=title, unit="batch", delay=2, leave=False):
        for i, method in enumerate(methods):
            start = time.perf_counter()
            parts[i].append(method(x, y))
            seconds[i] += time.perf_counter() - start
    with torch.no_grad():
        gap = (model(images) - model(torch.zeros_like(images))).gather(1, labels[:, None])[:, 0]
    total, single = torch.cat(parts[0]), torch.cat(parts[1])
    errors = [float(((found.flatten(1).sum(1) - gap) / gap).abs().max()) for found in (total, single)]
    return Comparison(
        Method(f"Integrated Gradients ({n_steps})", total, errors[0], n_steps, seconds[0]),
        Method("X-Gradient", single, errors[1], 1, seconds[1]),
    )
