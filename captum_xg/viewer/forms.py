"""What attributions are shown as: maps of pictures, tokens of texts or bars of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from captum_xg.errors import InputError
from captum_xg.viewer.reduction import Numbers, area_sums, fitting

Kind = Literal["picture", "tokens", "table"]


@dataclass(frozen=True)
class Form:
    """How the attributions of an example are shown.

    Attributes:
        kind: As a map of pixels, on tokens, or as bars.
        shape: Of the attributions, once channels are summed: ``(H, W)``, ``(T,)`` or ``(D,)``.
        small: Of what the grid of examples shows; as ``shape`` but for large pictures.
        large: Of what the view of one example shows, if that is more.
    """

    kind: Kind
    shape: tuple[int, ...]
    small: tuple[int, ...]
    large: tuple[int, ...] | None

    def maps(self, attributions: Tensor) -> Numbers:
        """Return attributions ``(n, …)`` summed over channels, ``(n, *shape)``; of texts with their own length."""
        numbers = attributions.detach().to("cpu")
        n, behind = len(numbers), self.kind != "picture"  # what is summed: features of tokens, else channels
        # Texts may be padded to another length in each shard.
        own = tuple(numbers.shape[1:2]) if self.kind == "tokens" else self.shape
        shape = (n, *own, -1) if behind else (n, -1, *own)
        summed: Numbers = numbers.reshape(shape).sum(-1 if behind else 1, dtype=torch.float64).numpy()
        return summed

    def reduced(self, maps: Numbers, size: Sequence[int]) -> Numbers:
        """Return maps in another size, with their sums."""
        return area_sums(maps, (size[0], size[1])) if self.kind == "picture" else maps


def form_of(shape: Sequence[int], tokens: bool, small: int, large: int, where: str) -> Form:
    """Return the form of attributions whose shape for one example is given.

    Args:
        shape: ``(C, H, W)`` and ``(H, W)`` are pictures and summed over channels, ``(D,)`` are features of a table;
            with ``tokens`` ``(T,)`` and ``(T, D)`` are texts.
        tokens: Whether there are token ids.
        small: The most pixels of a side in the grid.
        large: The same in the view of one example.
        where: For messages.

    Raises:
        InputError: If there are more dimensions.
    """
    shape = tuple(shape)
    if tokens and len(shape) in (1, 2):
        return Form("tokens", shape[:1], shape[:1], None)
    if len(shape) in (2, 3):
        size = (shape[-2], shape[-1])
        shown, whole = fitting(size, small), fitting(size, max(small, large))
        return Form("picture", size, shown, whole if whole != shown else None)
    if len(shape) == 1:
        return Form("table", shape, shape, None)
    raise InputError(
        f"{where}: attributions of shape {shape} for each example are no picture (C, H, W), text (T,) or table (D,). "
        "Sum them over the other dimensions first."
    )
