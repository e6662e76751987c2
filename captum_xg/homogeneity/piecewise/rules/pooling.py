"""Maxima over windows: affine as long as the same one wins in every window."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg.homogeneity.piecewise.call import PieceCall
from captum_xg.homogeneity.piecewise.registry import Found, piece_rule


@piece_rule(
    *("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool1d", "max_pool2d", "max_pool3d"),
    *("max_pool1d_with_indices",),
)
def maximum(call: PieceCall) -> Found:
    """The largest of each window of one size."""
    n = int(call.name[len("max_pool")])
    z, size = call["self"], _each(call["kernel_size"], n)
    steps = _each(call.get("stride") or size, n)
    padding, dilation = _each(call.get("padding", 0), n), _each(call.get("dilation", 1), n)
    shape = call.event.results[0].shape[-n:]
    if not any(padding) and all(d == 1 for d in dilation) and _fits(z.shape[-n:], shape, size, steps):
        return _winners(call, n, lambda x: _unfolded(x, n, size, steps))
    places = [
        (torch.arange(out)[:, None] * step - pad + torch.arange(k) * gap, length)
        for out, k, step, pad, gap, length in zip(shape, size, steps, padding, dilation, z.shape[-n:], strict=True)
    ]
    # Outside of the input a place of the same window stands in: it is there twice, which changes nothing.
    inside = []
    for place, length in places:
        valid = (place >= 0) & (place < length)
        first = torch.where(valid, place, length).min(1, keepdim=True).values
        inside.append(torch.where(valid, place, first))
    return _winners(call, n, lambda x: _taken(x, n, inside))


@piece_rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_maximum(call: PieceCall) -> Found:
    """The largest of windows that share out the input."""
    n = int(call.name[len("adaptive_max_pool")])
    inside = []
    for out, length in zip(call.event.results[0].shape[-n:], call["self"].shape[-n:], strict=True):
        begin = torch.arange(out) * length // out
        end = ((torch.arange(out) + 1) * length + out - 1) // out
        width = int((end - begin).max())
        inside.append(torch.minimum(begin[:, None] + torch.arange(width), end[:, None] - 1))
    return _winners(call, n, lambda x: _taken(x, n, inside))


def _winners(call: PieceCall, n: int, windows) -> Found:  # type: ignore[no-untyped-def]
    """Report the winner of every window against the others in it; return the tangents of the winners."""
    z, dz = call["self"], call.tangent("self")
    results = call.event.results
    if len(results) > 1:
        index = results[1]
        rate = dz.flatten(-n).gather(-1, index.flatten(-n)).view(index.shape)
        best = results[0]
    else:
        values, rates = windows(z).flatten(-n), windows(dz).flatten(-n)
        best, index = values.max(-1)
        rate = rates.gather(-1, index.unsqueeze(-1)).squeeze(-1)
    shape = (*best.shape, *[1] * n)
    call.crosses(best.view(shape) - windows(z), rate.view(shape) - windows(dz))
    return [rate, *[None] * (len(results) - 1)]


def _each(value: object, n: int) -> list[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return [int(v) for v in (values * n if len(values) == 1 else values)]  # type: ignore[call-overload]


def _fits(given: torch.Size, shape: torch.Size, size: list[int], steps: list[int]) -> bool:
    return all((out - 1) * s + k <= length for out, s, k, length in zip(shape, steps, size, given, strict=True))


def _unfolded(x: Tensor, n: int, size: list[int], steps: list[int]) -> Tensor:
    first = x.dim() - n
    for i in range(n):
        x = x.unfold(first + i, size[i], steps[i])
    return x


def _taken(x: Tensor, n: int, inside: list[Tensor]) -> Tensor:
    """Return the windows whose places are given for each dimension, behind what is outside of them."""
    first = x.dim() - n
    for i, places in enumerate(inside):
        x = x.index_select(first + i, places.reshape(-1).to(x.device)).unflatten(first + i, places.shape)
        x = x.movedim(first + i + 1, -1)
    return x
