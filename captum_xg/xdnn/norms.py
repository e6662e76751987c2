"""Sizes of examples, and division by them where they may be zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from captum_xg._core.options import single_number
from captum_xg.errors import OptionError

Norm: TypeAlias = float | Literal["rms"]


def check_norm(norm: object, where: str) -> Norm:
    """Return ``norm`` if it is a number p ≥ 1 (also infinity) or ``"rms"``.

    Raises:
        OptionError: If it is not.
    """
    if isinstance(norm, str) and norm == "rms":
        return "rms"
    number = single_number(norm)
    if number is None or not number >= 1:
        raise OptionError(
            f"{where}: `norm` = {norm!r} is not a norm. Pass the order p ≥ 1 of ‖x‖ₚ (2, 1, float('inf'), …), or 'rms' "
            "for the root of the mean square, which does not grow with the number of elements."
        )
    return int(number) if number.is_integer() else number


def magnitude(inputs: Sequence[Tensor], norm: Norm) -> tuple[Tensor, float]:
    r"""Return the size of each example, over all inputs together, and the constant that makes the norm of it.

    The size is the power mean :math:`m = (\tfrac{1}{n} \sum_i |x_i|^p)^{1/p}`, of shape ``(N,)``; it lies within the
    range of the elements, so no dtype that holds them overflows. The norm is :math:`\|x\|_p = n^{1/p} m`. It is
    computed in double precision, for the powers of small and large float32 numbers leave the range of float32. At zero
    its gradient, and the gradient of that, are zero.
    """
    n = sum(math.prod(x.shape[1:]) for x in inputs)
    order = 2.0 if norm == "rms" else float(norm)
    rows = [x.flatten(1).to(widest(x.device)) for x in inputs]
    if math.isinf(order):
        largest = [row.abs().amax(1) for row in rows]
        return (largest[0] if len(rows) == 1 else torch.stack(largest).amax(0)), 1.0
    size = mean = reduce(torch.add, (_power(row, order).sum(1) for row in rows)) / n
    if order != 1:
        positive = mean != 0  # NaN is, and stays NaN
        safe = torch.where(positive, mean, 1.0)
        size = torch.where(positive, safe.sqrt() if order == 2 else safe.pow(1 / order), 0.0)
    return size, 1.0 if norm == "rms" else n ** (1 / order)


def scaled_to(x: Tensor, size: Tensor, target: float | Tensor) -> Tensor:
    """Return each example of ``x`` scaled from its size to another; where the size is zero, ``target`` everywhere.

    That is a point of the same size, with gradient zero. The size is replaced before the division and the quotient
    after it, since autograd multiplies the gradient of an unused quotient by zero, and 0 · ∞ is not a number.
    """
    # Half precision is too coarse for two steps, and double would add to the memory that autograd keeps.
    dtype = torch.promote_types(x.dtype, torch.float32)
    size = size.to(dtype).reshape(-1, *[1] * (x.dim() - 1))
    positive = size != 0
    quotient = x.to(dtype) / torch.where(positive, size, 1.0)
    return (torch.where(positive, quotient, 1.0) * target).to(x.dtype)


def power_of_size(size: Tensor, exponent: float) -> Tensor:
    """Return a power of the size, and zero where that is zero, also as first and second gradient."""
    positive = size != 0
    return torch.where(positive, torch.where(positive, size, 1.0).pow(exponent), 0.0)


def _power(x: Tensor, order: float) -> Tensor:
    if order == 1:
        return x.abs()
    return x.square() if order == 2 else x.abs().pow(order)


def widest(device: torch.device) -> torch.dtype:
    """Return the widest floating-point dtype that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64
