"""Pictures of one image at two contrasts, in a form that JSON keeps: for a second run that computes nothing."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from captum_xg.datasets.imagenet import MEAN, STD
from captum_xg.repro.figure2.attributions import FULL, LOW, at_both, compared

SHOWN = (FULL, LOW)
MAPS = ("single", "ig")
_LEVELS = 127
_QUANTILE = 0.995
"""Of the absolute attributions: what the ends of the colours are. The few above it would leave the others pale."""


def maps_of(model: nn.Module, image: Tensor, label: Tensor, *, xdnn: bool) -> dict[str, Any]:
    """Return maps of both methods at both contrasts, the image itself, and the numbers about them.

    Args:
        model: The network.
        image: ``(1, C, H, W)``.
        label: ``(1,)``, what is explained.
        xdnn: Whether it is without biases.
    """
    found = at_both(model, image, label, xdnn=xdnn)
    return {
        "label": int(label),
        "numbers": compared(found),
        "maps": {
            name: {
                str(alpha): encoded_map(getattr(at, name)[0])
                for alpha, at in zip(SHOWN, (found.full, found.low), strict=True)
            }
            for name in MAPS
        },
        "images": {str(alpha): encoded_image(alpha * image[0]) for alpha in SHOWN},
    }


def encoded_map(attributions: Tensor) -> dict[str, Any]:
    """Return attributions ``(C, H, W)`` summed over channels, as shares of their 99.5 % quantile, in 255 levels."""
    flat = attributions.sum(0).cpu().double()
    # Of what is not zero: on a black background the quantile over all pixels would be that of the few that speak.
    given = flat[flat != 0].abs()
    scale = float(np.quantile(given.numpy(), _QUANTILE)) if given.numel() else 1.0
    levels = (flat / (scale or 1.0)).clamp(-1, 1).mul(_LEVELS).round().to(torch.int8)
    return _encoded(levels.numpy())


def decoded_map(stored: dict[str, Any]) -> NDArray[np.float64]:
    """Return a map ``(H, W)`` in [−1, 1]."""
    return _decoded(stored, np.int8) / _LEVELS


def encoded_image(image: Tensor) -> dict[str, Any]:
    """Return an image as it looks: grey ones in [0, 1] as they are, coloured ones without ImageNet's normalisation."""
    shown = image.cpu().double()
    if len(shown) == 3:
        mean, std = (torch.tensor(each, dtype=torch.float64)[:, None, None] for each in (MEAN, STD))
        shown = shown * std + mean
    return _encoded((shown.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def decoded_image(stored: dict[str, Any]) -> NDArray[np.float64]:
    """Return an image ``(H, W)`` or ``(H, W, 3)`` in [0, 1]."""
    found = _decoded(stored, np.uint8) / 255
    return found[..., 0] if found.shape[-1] == 1 else found


def _encoded(array: NDArray[Any]) -> dict[str, Any]:
    raw = np.ascontiguousarray(array).tobytes()
    return {"shape": list(array.shape), "bytes": base64.b64encode(raw).decode("ascii")}


def _decoded(stored: dict[str, Any], kind: type) -> NDArray[Any]:
    flat: NDArray[Any] = np.frombuffer(base64.b64decode(stored["bytes"]), dtype=kind)
    shaped: NDArray[Any] = flat.reshape(stored["shape"])
    return shaped
