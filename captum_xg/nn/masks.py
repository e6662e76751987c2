"""Masks of attention, in the forms that PyTorch takes, as what is forbidden and what is added to the logits.

Boolean masks are True where attention is forbidden; numbers are added to the logits, where −∞ forbids.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_xg.errors import InputError


def checked_padding(mask: object, shape: Sequence[int], where: str) -> Tensor:
    """Return which tokens are padding, of the shape ``(N, …)`` of the tokens.

    Raises:
        InputError: If the mask is of another shape, or not boolean.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise InputError(
            f"{where}: `key_padding_mask` must be a tensor of booleans, True where a token is padding, but is "
            f"{_kind(mask)}."
        )
    if tuple(mask.shape) != tuple(shape):
        raise InputError(
            f"{where}: `key_padding_mask` must be of shape {tuple(shape)}, one entry per token, but is of shape "
            f"{tuple(mask.shape)}."
        )
    return mask


def checked_attention_mask(mask: object, n: int, heads: int, length: int, where: str) -> tuple[Tensor, Tensor | None]:
    """Return (forbidden, added) of shapes that fit logits ``(N, heads, T, T)``; nothing is added for boolean masks.

    Raises:
        InputError: If the mask is neither boolean nor floating-point, or of a shape other than ``(T, T)`` and
            ``(N·heads, T, T)``.
    """
    if not isinstance(mask, Tensor) or not (mask.dtype == torch.bool or mask.dtype.is_floating_point):
        raise InputError(
            f"{where}: `attn_mask` must be a tensor of booleans, True where attention is forbidden, or of numbers that "
            f"are added to the logits, but is {_kind(mask)}."
        )
    one, each = (length, length), (n * heads, length, length)
    if tuple(mask.shape) not in (one, each):
        raise InputError(
            f"{where}: `attn_mask` must be of shape {one}, or {each} with one mask per example and head, but is of "
            f"shape {tuple(mask.shape)}."
        )
    if mask.dim() == 3:
        mask = mask.reshape(n, heads, length, length)
    if mask.dtype == torch.bool:
        return mask, None
    forbidden = mask.isneginf()
    return forbidden, mask.masked_fill(forbidden, 0.0)


def _kind(mask: object) -> str:
    return str(mask.dtype) if isinstance(mask, Tensor) else type(mask).__name__
