"""Priors that know features by their number: whether attributions have them."""

from __future__ import annotations

from torch import Tensor

from captum_xg.errors import PriorError


def numbered_features(attributions: Tensor, exactly: int | None, largest: int, where: str) -> Tensor:
    """Return the attributions as ``(N, n)``.

    Args:
        attributions: Shape ``(N, …)``.
        exactly: What n must be, if that is fixed.
        largest: The largest number of a feature in use.
        where: Who asks.

    Raises:
        PriorError: If they have not n features, or too few.
    """
    rows = attributions.reshape(len(attributions), -1)
    n = rows.shape[1]
    if n == exactly or (exactly is None and n > largest):
        return rows
    needed = f"more than {largest}" if exactly is None else f"{exactly}"
    raise PriorError(
        f"{where}: attributions of shape {tuple(attributions.shape)} have {n} features, but it was made for {needed}."
    )
