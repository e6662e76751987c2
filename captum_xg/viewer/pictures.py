"""Pictures as a page keeps them: 8 bits, undone normalisation, reduced by means over areas."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_xg.errors import InputError, OptionError
from captum_xg.viewer.reduction import Numbers, area_means

_RAW_UP_TO = 64
"""Pictures up to this side are kept pixel by pixel; larger ones as JPEG."""
_QUALITY = 88


def as_picture(values: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None, where: str) -> Numbers:
    """Return an input ``(C, H, W)`` or ``(H, W)`` as 1 or 3 channels in [0, 1].

    A normalisation is undone; numbers that are not in [0, 1] then are stretched to it. Of 2 or more than 3 channels the
    mean is shown.

    Raises:
        OptionError: If ``mean`` and ``std`` do not fit the channels.
        InputError: If there are NaN or infinite numbers.
    """
    pixels = values.detach().to("cpu").double().clone().numpy()
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if not np.isfinite(pixels).all():
        raise InputError(f"{where}: the picture has NaN or infinity.")
    if mean is not None and std is not None:
        shift, scale = (np.asarray(numbers, dtype=float).reshape(-1, 1, 1) for numbers in (mean, std))
        if any(len(numbers) not in (1, len(pixels)) for numbers in (shift, scale)):
            raise OptionError(f"{where}: `mean` and `std` must have one number per channel, of {len(pixels)}.")
        pixels = pixels * scale + shift
        # What rounding left outside of [0, 1] is no reason to stretch.
        pixels = np.where((pixels > -1e-3) & (pixels < 1 + 1e-3), pixels.clip(0, 1), pixels)
    if len(pixels) not in (1, 3):
        pixels = pixels.mean(0, keepdims=True)
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        pixels = (pixels - low) / ((high - low) or 1)
    return np.asarray(pixels)


def is_raw(size: tuple[int, int]) -> bool:
    """Return whether pictures of a size are kept pixel by pixel."""
    return max(size) <= _RAW_UP_TO


def picture_bytes(picture: Numbers, size: tuple[int, int]) -> bytes:
    """Return a picture ``(C, H, W)`` in [0, 1] in a smaller size: bytes ``(H, W, C)``, or a JPEG if it is large."""
    pixels: NDArray[np.uint8] = np.rint(area_means(picture, size).clip(0, 1) * 255).astype(np.uint8)
    rows = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    if is_raw(size):
        return rows.tobytes()
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(rows[..., 0] if rows.shape[2] == 1 else rows).save(
        sink, "JPEG", quality=_QUALITY, subsampling=0, optimize=False
    )
    return sink.getvalue()
