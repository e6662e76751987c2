"""Integrated Gradients beside X-Gradient: the same where F is homogeneous, and how many steps it needs where not."""

from __future__ import annotations

from collections.abc import Sequence

from captum.attr import IntegratedGradients
from torch import Tensor, nn

from captum_xg import XGradient
from captum_xg.repro.patches.protocol import Labelled

EXACT_STEPS = 64
TOLERANCE = 0.01
"""Of an attribution map: Σ|a − IG| / Σ|IG|."""
_BATCH = {"cpu": 64, "cuda": 512}
"""Images at a time; 512 in double precision take some 3 GB."""


def deviations(model: nn.Module, data: Labelled) -> list[float]:
    """Return for each image how far X-Gradient is from Integrated Gradients, relative to the largest attribution.

    Args:
        model: In evaluation mode, in double precision.
        data: Images in double precision.
    """
    found = XGradient(model).attribute(data.images, target=data.labels)
    wanted = integrated(model, data, EXACT_STEPS)
    differences = (found - wanted).abs().flatten(1).amax(1) / wanted.abs().flatten(1).amax(1)
    return [float(each) for each in differences]


def errors(model: nn.Module, data: Labelled, steps: Sequence[int], reference_steps: int) -> dict[int, list[float]]:
    """Return number of steps → for each image the error Σ|IG(n) − IG| / Σ|IG| of so many steps; arguments as above."""
    wanted = integrated(model, data, reference_steps)
    size = wanted.abs().flatten(1).sum(1)
    found = {}
    for n in steps:
        missed = (integrated(model, data, n) - wanted).abs().flatten(1).sum(1) / size
        found[n] = [float(each) for each in missed]
    return found


def integrated(model: nn.Module, data: Labelled, steps: int) -> Tensor:
    """Return Captum's Integrated Gradients of the logits of the labels against black, Gauss–Legendre."""
    batch = max(_BATCH[data.images.device.type], len(data.labels))
    found: Tensor = IntegratedGradients(model).attribute(
        data.images, target=data.labels, n_steps=steps, internal_batch_size=batch
    )
    return found.detach()


def numbers_of_steps(most: int) -> tuple[int, ...]:
    """Return 1, 2, 3, 4, 6, 8, 12, 16 and so on: the numbers of steps that are tried."""
    found, n = [1], 2
    while n <= most:
        found += [n, *([n * 3 // 2] if n * 3 // 2 <= most else [])]
        n *= 2
    return tuple(found)


def steps_needed(errors_of_image: dict[int, float], tolerance: float = TOLERANCE) -> int | None:
    """Return the smallest number of steps from which on every larger one that was tried is within the tolerance.

    A single small error may be luck; None if the largest number is not enough.
    """
    needed = None
    for n in sorted(errors_of_image, reverse=True):
        if errors_of_image[n] > tolerance:
            break
        needed = n
    return needed
