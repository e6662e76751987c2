"""Maxima over windows: affine as long as the same one wins in every window."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_xg.homogeneity.piecewise.call import PieceCall
from captum_xg.homogeneity.piecewise.registry import Found, piece_rule

Windows: TypeAlias = "Callable[[Tensor, float], Iterator[Tensor]]"
"""From a tensor, and what to put outside of it, to one tensor of the result's shape for each place in a window."""
_LEAST = torch.finfo(torch.float64).tiny


@piece_rule("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool1d", "max_pool2d", "max_pool3d")
def maximum(call: PieceCall) -> Found:
    """The largest of each window of one size."""
    n = int(call.name[len("max_pool")])
    z, size = call["self"], _each(call["kernel_size"], n)
    steps = _each(call.get("stride") or size, n)
    padding, dilation = _each(call.get("padding", 0), n), _each(call.get("dilation", 1), n)
    shape = call.event.results[0].shape[-n:]
    if steps == size and not any(padding) and all(gap == 1 for gap in dilation):
        covered = [out * k for out, k in zip(shape, size, strict=True)]
        if all(own <= length for own, length in zip(covered, z.shape[-n:], strict=True)):
            return _side_by_side(call, size, covered)
    ends = [
        max((out - 1) * step + (k - 1) * gap + 1 - pad - length, 0)
        for out, step, k, gap, pad, length in zip(shape, steps, size, dilation, padding, z.shape[-n:], strict=True)
    ]

    def windows(x: Tensor, outside: float) -> Iterator[Tensor]:
        if any(padding) or any(ends):
            around = [side for pad, end in zip(padding[::-1], ends[::-1], strict=True) for side in (pad, end)]
            x = torch.nn.functional.pad(x, around, value=outside)
        for place in itertools.product(*map(range, size)):
            part = x
            for i, at in enumerate(place):
                begin = at * dilation[i]
                end = begin + (shape[i] - 1) * steps[i] + 1
                part = _sliced(part, part.dim() - n + i, begin, end, steps[i])
            yield part

    return _winners(call, n, windows)


@piece_rule("adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive_maximum(call: PieceCall) -> Found:
    """The largest of windows that share out the input."""
    n = int(call.name[len("adaptive_max_pool")])
    inside = []
    for out, length in zip(call.event.results[0].shape[-n:], call["self"].shape[-n:], strict=True):
        begin = torch.arange(out) * length // out
        end = ((torch.arange(out) + 1) * length + out - 1) // out
        width = int((end - begin).max())
        inside.append(torch.minimum(begin[:, None] + torch.arange(width), end[:, None] - 1))

    def windows(x: Tensor, outside: float) -> Iterator[Tensor]:
        for place in itertools.product(*(range(places.shape[1]) for places in inside)):
            part = x
            for i, at in enumerate(place):
                part = part.index_select(x.dim() - n + i, inside[i][:, at].to(x.device))
            yield part

    return _winners(call, n, windows)


def _side_by_side(call: PieceCall, size: list[int], covered: list[int]) -> Found:
    """Do the same for windows that touch each other: as parts of a view, all memory is read in order."""
    n, (best, *index) = len(size), call.event.results
    z, dz = call["self"], call.tangent("self")
    assert dz is not None
    whole = dz
    for i, (length, k) in enumerate(zip(covered, size, strict=True)):
        dim = z.dim() - n + i  # the dimensions of windows that were split off stand behind, each after its own
        z, dz = (torch.unflatten(_sliced(x, dim, 0, length, 1), dim, (-1, k)) for x in (z, dz))
    if index:
        rate = whole.flatten(-n).gather(-1, index[0].flatten(-n)).view(best.shape)
    else:
        inside = tuple(range(-2 * n + 1, 0, 2))
        rate = torch.where(z == _beside(best, n), dz, -torch.inf).amax(inside)
    call.crosses((_beside(best, n) - z).clamp_min_(_LEAST), _beside(rate, n) - dz)
    return [rate, *[None] * len(index)]


def _beside(x: Tensor, n: int) -> Tensor:
    """Return a tensor with a dimension of length 1 behind each of the last n."""
    for i in range(n):
        x = x.unsqueeze(-1 - 2 * i)
    return x


def _winners(call: PieceCall, n: int, windows: Windows) -> Found:
    """Report the winner of every window against the others in it; return the tangents of the winners."""
    z, dz = call["self"], call.tangent("self")
    assert dz is not None
    results = call.event.results
    best = results[0]
    if len(results) > 1:
        rate = dz.flatten(-n).gather(-1, results[1].flatten(-n)).view(best.shape)
    else:
        rate = torch.zeros_like(best)
        for value, own in zip(windows(z, -torch.inf), windows(dz, 0.0), strict=True):
            rate = torch.where(value == best, own, rate)
    for value, own in zip(windows(z, -torch.inf), windows(dz, 0.0), strict=True):
        # None is larger. What is equal and stands still relative to the winner must not become 0/0.
        call.crosses((best - value).clamp_min_(_LEAST), rate - own)
    return [rate, *[None] * (len(results) - 1)]


def _sliced(x: Tensor, dim: int, begin: int, end: int, step: int) -> Tensor:
    return x if (begin, end, step) == (0, x.shape[dim], 1) else torch.ops.aten.slice(x, dim, begin, end, step)


def _each(value: Any, n: int) -> list[int]:
    values = [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]
    return values * n if len(values) == 1 else values
