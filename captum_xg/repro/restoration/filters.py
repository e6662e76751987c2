r"""Filters: how a denoiser makes a pixel of those around, at pixels of the test photographs, in double precision.

The filter of pixel i is the row :math:`w_j = \partial y_i / \partial x_j`. Without biases :math:`y_i = \sum_j w_j x_j`
exactly: the pixel is a weighted sum, and filter times image is its X-Gradient, and its Integrated Gradients.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray
from torch import Tensor, nn

from captum_xg import XGradient
from captum_xg.datasets.photographs import TEST, photograph
from captum_xg.repro.restoration.protocol import MOST, SEEN, UNSEEN, Protocol, with_noise

PLACES = {"flat": ("camera", 60, 400), "edge": ("camera", 172, 40), "texture": ("chelsea", 60, 150)}
"""Kind of place → photograph, row and column of the pixel whose filters are drawn."""
DRAWN = (10, 50)
"""Levels of noise that filters are drawn at."""
IG_STEPS, EXPLAINED = 64, 3


def filters(model: nn.Module, noisy: Tensor) -> tuple[Tensor, Tensor]:
    """Return the filters ``(N, S, S)`` of the central pixels of squares ``(N, 1, S, S)``, and these pixels ``(N,)``."""
    centre = noisy.shape[-1] // 2
    inputs = noisy.detach().requires_grad_()
    # No square sees another, so one pass backwards gives the filters of all.
    pixels = model(inputs)[:, 0, centre, centre]
    (found,) = torch.autograd.grad(pixels.sum(), inputs)
    return found[:, 0], pixels.detach()


def squares(places: list[tuple[str, int, int]], side: int) -> Tensor:
    """Return squares around pixels, ``(N, 1, side, side)`` in double precision; each pixel is at side / 2."""
    half = side // 2
    found = [photograph(name)[row - half : row + half, column - half : column + half] for name, row, column in places]
    return torch.stack(found).unsqueeze(1).double()


def random_places(count: int, side: int) -> list[tuple[str, int, int]]:
    """Return pixels of the test photographs, the same each time, so far from the border that they see all around."""
    generator, half = torch.Generator().manual_seed(0), side // 2
    found = []
    for i in range(count):
        name = TEST[i % len(TEST)]
        height, width = photograph(name).shape
        row, column = (int(torch.randint(half, n - half, (), generator=generator)) for n in (height, width))
        found.append((name, row, column))
    return found


def measured(model: nn.Module, side: int, protocol: Protocol, device: torch.device, *, bias: bool) -> dict[str, Any]:
    r"""Return what the filters of a network come to.

    ``sum`` and ``pixels``, per level and pixel: the sum of the weights, and over how many pixels they average,
    :math:`(\sum w)^2 / \sum w^2`. ``drawn``: the filters of :data:`PLACES`. ``explained``: see :func:`_explained`.
    """
    model = model.double().to(device)
    clean = squares(random_places(protocol.pixels, side), side)
    found: dict[str, Any] = {"sum": {}, "pixels": {}, "drawn": {}, "explained": {}}
    for level in (*SEEN, *UNSEEN):
        weights, _ = filters(model, with_noise(clean, level).to(device))
        total = weights.sum((1, 2))
        found["sum"][str(level)] = total.tolist()
        found["pixels"][str(level)] = (total.square() / weights.square().sum((1, 2))).tolist()
    places = squares(list(PLACES.values()), side)
    for level in DRAWN:
        noisy = with_noise(places, level).to(device)
        weights, _ = filters(model, noisy)
        found["drawn"][str(level)] = {
            place: {"filter": packed(weights[i].cpu().numpy()), "noisy": packed(noisy[i, 0].cpu().numpy())}
            for i, place in enumerate(PLACES)
        }
    for level in (MOST, UNSEEN[-1]):
        found["explained"][str(level)] = _explained(model, with_noise(clean[:EXPLAINED], level).to(device), bias=bias)
    return found


def _explained(model: nn.Module, noisy: Tensor, *, bias: bool) -> dict[str, list[float]]:
    """Return how far filter times image is from the Integrated Gradients of the pixel, and its sum from the pixel.

    ``from_ig``: the largest difference, as a share of the largest attribution; ``from_pixel``: as a share of the pixel.
    """
    centre = noisy.shape[-1] // 2
    targets = [(0, centre, centre)] * len(noisy)
    integrated = IntegratedGradients(model).attribute(noisy, target=targets, n_steps=IG_STEPS).detach()
    weights, pixels = filters(model, noisy)
    own = weights.unsqueeze(1) * noisy if bias else XGradient(model).attribute(noisy, target=targets)
    largest = integrated.abs().flatten(1).amax(1)
    return {
        "from_ig": ((own - integrated).abs().flatten(1).amax(1) / largest).tolist(),
        "from_pixel": ((own.flatten(1).sum(1) - pixels).abs() / pixels.abs()).tolist(),
    }


def packed(values: NDArray[Any]) -> str:
    """Return a square of numbers as text, in single precision."""
    return b64encode(values.astype("<f4").tobytes()).decode("ascii")


def unpacked(text: str) -> NDArray[np.float32]:
    """Return the square of numbers that :func:`packed` was given."""
    values = np.frombuffer(b64decode(text), "<f4").astype(np.float32)
    side = round(len(values) ** 0.5)
    return values.reshape(side, side)
