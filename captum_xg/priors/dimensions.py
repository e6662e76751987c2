"""Which dimensions of attributions are places next to each other: of sequences, images and volumes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_xg._core.options import integer
from captum_xg.errors import OptionError, PriorError


def check_dims(dims: Any, where: str) -> int | None:
    """Return the number of dimensions asked for, or None for what the shape says.

    Raises:
        OptionError: If it is not 1, 2, 3 or None.
    """
    number = None if dims is None else integer(dims, "dims", where)
    if number not in (None, 1, 2, 3):
        raise OptionError(f"{where}: `dims` must be 1, 2, 3 or None but is {dims!r}.")
    return number


def spatial_dims(attributions: Tensor, dims: int | None, where: str) -> tuple[int, ...]:
    """Return the last 1, 2 or 3 dimensions.

    If not given: ``(N, L)`` and ``(N, C, L)`` have 1, ``(N, C, H, W)`` has 2 and ``(N, C, D, H, W)`` has 3.

    Raises:
        PriorError: If the attributions do not have that many besides that of the examples.
    """
    shape = tuple(attributions.shape)
    if dims is None and not 2 <= len(shape) <= 5:
        raise PriorError(
            f"{where}: attributions of shape {shape} are no sequences (N, L) or (N, C, L), images (N, C, H, W) or "
            "volumes (N, C, D, H, W). Say with `dims` how many of the last dimensions have neighbours."
        )
    count = max(1, len(shape) - 2) if dims is None else dims
    if len(shape) <= count:
        raise PriorError(
            f"{where}: attributions of shape {shape} have {len(shape) - 1} dimension(s) besides that of the examples, "
            f"but `dims` is {count}."
        )
    return tuple(range(-count, 0))
