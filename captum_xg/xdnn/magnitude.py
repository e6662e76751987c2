"""The length of each example, and division by it where it may be zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from captum_xg.errors import OptionError

Norm: TypeAlias = "float | Literal['rms']"


def check_norm(norm: Norm, where: str) -> None:
    """Raise unless ``norm`` is a number p ≥ 1 (also infinity) or ``"rms"``.

    Raises:
        OptionError: If it is not.
    """
    number = isinstance(norm, (int, float)) and not isinstance(norm, bool) and not math.isnan(norm) and norm >= 1
    if not number and norm != "rms":
        raise OptionError(
            f"{where}: `norm` = {norm!r} is no norm. Pass the order p ≥ 1 of ‖x‖ₚ (2, 1, float('inf'), …), or 'rms' "
            "for the root of the mean square, which does not grow with the number of elements."
        )


def magnitude(inputs: Sequence[Tensor], norm: Norm) -> Tensor:
    r"""Return the norm of each example, over all inputs together, of shape ``(N,)`` and in double precision.

    Double, because the squares of small and large float32 numbers leave the range of float32, where a norm would become
    0 or ∞ at scales that the inputs themselves can well take. At zero its gradient is zero.
    """
    order = 2.0 if norm == "rms" else float(norm)
    parts: list[Tensor] = [torch.linalg.vector_norm(x.flatten(1), ord=order, dim=1, dtype=_wide(x)) for x in inputs]
    joint: Tensor = (
        parts[0] if len(parts) == 1 else torch.linalg.vector_norm(torch.stack(parts, dim=1), ord=order, dim=1)
    )
    if norm != "rms":
        return joint
    return joint / math.sqrt(sum(x[0].numel() for x in inputs))


def unit(x: Tensor, length: Tensor) -> Tensor:
    """Return each example of ``x`` divided by its length, and zero where the length is zero, also as gradient.

    The length is replaced before the division and the quotient after it, since autograd multiplies the gradient of an
    unused quotient by zero, and 0 · ∞ is not a number.
    """
    length = length.reshape(-1, *[1] * (x.dim() - 1))
    positive = length > 0
    quotient = x.to(length.dtype) / torch.where(positive, length, 1.0)
    return torch.where(positive, quotient, 0.0).to(x.dtype)


def _wide(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64  # which has nothing wider
