"""Checks of the tensors that the building blocks are called with."""

from __future__ import annotations

from torch import Tensor

from captum_xg.errors import InputError


def check_tokens(x: object, dim: int, where: str, *, sequences: bool = False) -> None:
    """Refuse anything but floating-point tokens of ``dim`` numbers, ``(N, …, dim)``; with ``sequences`` (N, T, dim).

    Raises:
        InputError: If it is something else.
    """
    shape = "(N, T, " if sequences else "(N, …, "
    fits = isinstance(x, Tensor) and x.dtype.is_floating_point and (x.dim() == 3 if sequences else x.dim() >= 2)
    if not isinstance(x, Tensor) or not fits or x.shape[-1] != dim:
        got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        advice = " One example alone: x.unsqueeze(0)." if isinstance(x, Tensor) and x.dim() == 2 and sequences else ""
        raise InputError(
            f"{where}: the tokens must be a floating-point tensor of shape {shape}{dim}), with examples in the first "
            f"dimension, but they are {got}.{advice}"
        )
