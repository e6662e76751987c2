"""Masks and boxes over features: which shapes they may have, and what is refused.

A shape that can be read in two ways is refused, not guessed: for attributions ``(3, 3, H, W)`` a mask ``(3, H, W)`` may
be one per example or one per channel, and the wrong reading would train on the wrong pixels without a sign of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg.errors import OptionError, OptionTypeError, PriorError


def checked_mask(mask: object, name: str, where: str, *, largest: float | None = None) -> Tensor:
    """Return a mask of real numbers ≥ 0, at most ``largest``.

    Raises:
        OptionError: If it is not a tensor of such numbers.
    """
    if not isinstance(mask, Tensor) or mask.is_complex() or mask.layout != torch.strided:
        kind = f"{mask.dtype}, {mask.layout}" if isinstance(mask, Tensor) else type(mask).__name__
        raise OptionTypeError(f"{where}: `{name}` must be a dense tensor of booleans or real numbers but is {kind}.")
    if mask.dtype == torch.bool:
        return mask
    bound = float("inf") if largest is None else largest
    good = (mask >= 0) & (mask <= bound) & (mask < float("inf"))
    if not bool(good.all()):
        raise OptionError(
            f"{where}: `{name}` has entries that are NaN, infinite, negative{'' if largest is None else ' or above 1'}."
            f" Its entries must be numbers from 0 {'on' if largest is None else f'to {largest:g}'}; True counts as 1."
        )
    return mask


def chosen(own: Tensor | None, given: object, name: str, where: str, *, largest: float | None = None) -> Tensor | None:
    """Return the mask of the prior itself or the one given for this batch, in the latter case checked.

    Raises:
        PriorError: If there are both, or the one given is not a mask.
    """
    if given is None:
        return own
    if own is not None:
        raise PriorError(
            f"{where}: `{name}` was given at construction, for all batches, and again for this one. Give it once."
        )
    try:
        return checked_mask(given, name, where, largest=largest)
    except OptionError as error:
        raise PriorError(str(error)) from None


def fitted_mask(mask: Tensor, attributions: Tensor, name: str, where: str, *, shared: bool) -> Tensor:
    """Return a mask with as many dimensions as the attributions, to broadcast with them.

    For attributions ``(N, C, *S)``: ``S``, ``(C, *S)`` and ``(1, *S)`` are shared by all examples; ``(N, C, *S)`` and
    ``(N, 1, *S)`` are per example, and 1 in place of N is shared. For ``(N, F)``: ``(F,)`` and ``(N, F)`` or ``(1,
    F)``.

    Args:
        mask: The mask.
        attributions: What it is for.
        name: What the caller knows it as.
        where: The public name that errors begin with.
        shared: Whether it is known not to be per example.

    Raises:
        PriorError: If it has another shape, or one that can be read in two ways.
    """
    shape, target = tuple(mask.shape), tuple(attributions.shape)
    n, features = target[0], target[1:]
    channels, space = (features[:1], features[1:]) if len(features) > 1 else ((), features)
    shared_shapes = dict.fromkeys([features, *([(1, *space), space] if channels else [])])
    per_example = dict.fromkeys([(k, *c, *space) for k in (n, 1) for c in ((channels, (1,)) if channels else ((),))])
    if channels and not shared and shape == features and shape[0] == n > 1:
        raise PriorError(
            f"{where}: `{name}` has shape {shape} for attributions of shape {target}, so that its first dimension may "
            f"be that of the examples or of the channels. Write ({n}, 1, …) for one mask per example, or (1, {n}, …) "
            "for one that all examples share (or give that at construction)."
        )
    if shape in shared_shapes:
        return mask.reshape((1,) * (len(target) - len(shape)) + shape)
    if shape in per_example and not (shared and shape[0] != 1):
        return mask
    allowed = ", ".join(map(str, [*shared_shapes, *([] if shared else per_example)]))
    hint = " For one mask per example and all channels write mask.unsqueeze(1)." if shape == (n, *space) else ""
    raise PriorError(
        f"{where}: `{name}` has shape {shape}, which does not fit attributions of shape {target}. It may have the "
        f"shapes {allowed}.{hint if not shared else ''}"
    )


def boxes_as_region(boxes: object, attributions: Tensor, where: str) -> Tensor:
    """Return the union of boxes as a mask ``(N, 1, H, W)``.

    A box (x1, y1, x2, y2) holds the pixels in column x and row y with x1 ≤ x < x2 and y1 ≤ y < y2.

    Raises:
        PriorError: If these are not boxes ``(N, 4)`` or ``(N, K, 4)``, or the attributions are not of images.
    """
    if attributions.dim() != 4:
        raise PriorError(
            f"{where}: boxes are for attributions of images (N, C, H, W), but these have shape "
            f"{tuple(attributions.shape)}. Pass `region`."
        )
    n, _, height, width = attributions.shape
    if not isinstance(boxes, Tensor) or boxes.is_complex() or boxes.dtype == torch.bool:
        kind = boxes.dtype if isinstance(boxes, Tensor) else type(boxes).__name__
        raise PriorError(f"{where}: `boxes` must be a tensor of numbers (x1, y1, x2, y2) but is {kind}.")
    if boxes.dim() not in (2, 3) or boxes.shape[0] != n or boxes.shape[-1] != 4:
        raise PriorError(
            f"{where}: `boxes` has shape {tuple(boxes.shape)}; for {n} example(s) it must be ({n}, 4), or ({n}, K, 4) "
            "with empty boxes such as (0, 0, 0, 0) to fill up."
        )
    x1, y1, x2, y2 = boxes.detach().to(attributions.device).reshape(n, -1, 4, 1, 1).unbind(2)
    # Also false for NaN.
    if not bool(((x1 <= x2) & (y1 <= y2)).all()):
        raise PriorError(f"{where}: `boxes` has a box without x1 ≤ x2 and y1 ≤ y2. Are they (x, y, width, height)?")
    rows = torch.arange(height, device=attributions.device).reshape(-1, 1)
    columns = torch.arange(width, device=attributions.device)
    inside = (x1 <= columns) & (columns < x2) & (y1 <= rows) & (rows < y2)
    return inside.any(1, keepdim=True)
