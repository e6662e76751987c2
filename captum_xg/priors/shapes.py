"""Shapes and scales of attributions: features, places that are neighbours, means over the batch, safe quotients.

All priors scale before they square or divide, so that nothing over- or underflows: dividing by :func:`peak`, a constant
to autograd, changes no function of degree 0 and none of its derivatives. Where a quotient or a root would be 0/0 it is
defined as 0 with zero derivatives; what is NaN stays NaN, so that a diverged training is noticed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg._core.distributed import Group, mean_over_processes
from captum_xg._core.options import integer
from captum_xg.errors import OptionError, PriorError


def feature_dims(values: Tensor) -> tuple[int, ...]:
    """Return all dimensions but that of the examples."""
    return tuple(range(1, values.dim()))


def numbered_features(attributions: Tensor, exactly: int | None, largest: int, where: str) -> Tensor:
    """Return the attributions as ``(N, n)``, for priors that know features by their number.

    Args:
        attributions: Shape ``(N, …)``.
        exactly: What n must be, if that is fixed.
        largest: The largest number of a feature in use.
        where: The public name that errors begin with.

    Raises:
        PriorError: If they do not have n features, or too few.
    """
    rows = attributions.reshape(len(attributions), -1)
    n = rows.shape[1]
    if n == exactly or (exactly is None and n > largest):
        return rows
    needed = f"more than {largest}" if exactly is None else f"{exactly}"
    raise PriorError(
        f"{where}: attributions of shape {tuple(attributions.shape)} have {n} features, but it was made for {needed}."
    )


def checked_dims(dims: int | None, where: str) -> int | None:
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
            f"{where}: attributions of shape {shape} are not sequences (N, L) or (N, C, L), images (N, C, H, W) or "
            "volumes (N, C, D, H, W). Say with `dims` how many of the last dimensions have neighbours."
        )
    count = max(1, len(shape) - 2) if dims is None else dims
    if len(shape) <= count:
        raise PriorError(
            f"{where}: attributions of shape {shape} have {len(shape) - 1} dimension(s) besides that of the examples, "
            f"but `dims` is {count}."
        )
    return tuple(range(-count, 0))


def mean_absolute(attributions: Tensor, across_processes: bool, process_group: Group) -> Tensor:
    """Return the mean of |A| over the examples of the batch, of all processes if asked for: one number per feature."""
    total = attributions.reshape(len(attributions), -1).abs().sum(0)
    if across_processes:
        return mean_over_processes(total, len(attributions), process_group)
    return total / len(attributions)


def peak(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the largest magnitude over some dimensions, which are kept, without a graph, as a number to divide by."""
    return divisor(values.detach().abs().amax(dims, keepdim=True) if dims else values.detach().abs())


def divisor(largest: Tensor) -> Tensor:
    """Return magnitudes made so large that neither their inverses nor gradients over- or underflow; 1 for 0."""
    clamped = largest.clamp(min=torch.finfo(largest.dtype).tiny * 2**12)
    return torch.where(largest == 0, torch.ones_like(largest), clamped)


def share(part: Tensor, total: Tensor) -> Tensor:
    """Return part / total, and 0 with zero derivatives where the total is 0."""
    # Both sides of a `where` are differentiated, so the quotient must be finite where it is not taken, too.
    quotient = part / torch.where(total == 0, torch.ones_like(total), total)
    return torch.where(total == 0, torch.zeros_like(quotient), quotient)


def root_of_sum(total: Tensor, power: float) -> Tensor:
    """Return total^(1/power), and 0 with zero derivatives where the total is 0, in place of an infinite slope."""
    safe = torch.where(total == 0, torch.ones_like(total), total)
    root = safe.sqrt() if power == 2 else safe.pow(1 / power)
    return torch.where(total == 0, torch.zeros_like(total), root)
