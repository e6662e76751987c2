"""Choices among many by size: maxima, orders, medians. Affine as long as the same ones are chosen."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from captum_xg.homogeneity.piecewise.call import PieceCall
from captum_xg.homogeneity.piecewise.registry import Found, piece_rule


def _given(call: PieceCall) -> tuple[Tensor, Tensor]:
    tangent = call.tangent("self")
    assert tangent is not None
    return call["self"], tangent


def _against_all(call: PieceCall, z: Tensor, dz: Tensor, index: Tensor, dim: int) -> Tensor:
    """Report a chosen one against all along a dimension, index having length 1 there; return its tangent."""
    chosen, rate = z.gather(dim, index), dz.gather(dim, index)
    call.crosses(chosen - z, rate - dz)
    return rate


@piece_rule("amax", "amin", "argmax", "argmin", "max", "min", "aminmax")
def extreme(call: PieceCall) -> Found:
    """The largest or smallest along dimensions, or of two tensors."""
    if call.get("other") is not None:
        call.refuse("it has two arguments")
    z, dz = _given(call)
    dims = call.get("dim", [])
    dims = [dims] if isinstance(dims, int) else list(dims)
    dims = sorted(d % max(z.dim(), 1) for d in dims) or list(range(z.dim()))
    others = [d for d in range(z.dim()) if d not in dims]
    order = (*others, *dims)
    z, dz = z.permute(order).flatten(len(others)), dz.permute(order).flatten(len(others))
    rates = []
    for find in (torch.argmin, torch.argmax) if call.name == "aminmax" else (_finder(call.name),):
        rates.append(_against_all(call, z, dz, find(z, -1, keepdim=True), -1).squeeze(-1))
    if call.name.startswith("arg"):
        return None
    results = call.event.results
    shaped = [rate.reshape(result.shape) for rate, result in zip(rates, results, strict=False)]
    return [*shaped, *[None] * (len(results) - len(shaped))]


def _finder(name: str) -> Callable[..., Tensor]:
    return torch.argmin if name.endswith("min") else torch.argmax


@piece_rule("sort")
def order(call: PieceCall) -> Found:
    """Numbers in their order: affine until two neighbours meet."""
    z, dz = _given(call)
    dim = 0 if call.name == "msort" else call.get("dim", -1)
    if call.name == "sort":
        index = call.event.output[1]
    else:
        index = call.event.output if call.name == "argsort" else z.sort(dim)[1]
    rates = dz.gather(dim, index)
    call.crosses(z.gather(dim, index).diff(dim=dim), rates.diff(dim=dim))
    if call.name == "argsort":
        return None
    return [rates, None] if call.name == "sort" else rates


@piece_rule("topk")
def largest(call: PieceCall) -> Found:
    """The k largest, in their order."""
    z, dz = _given(call)
    dim, k = call.get("dim", -1), call["k"]
    _, index = call.event.output
    rates = dz.gather(dim, index)
    if k == 0:
        return [rates, None]
    ordered = z.gather(dim, index).sort(dim, descending=bool(call.get("largest", True)))[1]
    chosen = index.gather(dim, ordered)
    call.crosses(z.gather(dim, chosen).diff(dim=dim), dz.gather(dim, chosen).diff(dim=dim))
    _against_all(call, z, dz, chosen.narrow(dim, k - 1, 1), dim)
    return [rates, None]


@piece_rule("kthvalue", "median", "nanmedian")
def ranked(call: PieceCall) -> Found:
    """The one of a certain rank: affine until another meets it."""
    z, dz = _given(call)
    if isinstance(call.event.output, Tensor):
        z, dz = z.reshape(-1), dz.reshape(-1)
        index = (z == call.event.output).nonzero()[0]
        return _against_all(call, z, dz, index, 0).reshape(())
    dim = call.get("dim", -1)
    index = call.event.output[1] if call.get("keepdim", False) else call.event.output[1].unsqueeze(dim)
    rate = _against_all(call, z, dz, index, dim)
    return [rate if call.get("keepdim", False) else rate.squeeze(dim), None]


@piece_rule("cummax", "cummin")
def largest_so_far(call: PieceCall) -> Found:
    """The largest or smallest up to each place: affine until one meets the best before it."""
    z, dz = _given(call)
    dim = call["dim"]
    values, index = call.event.output
    rates, n = dz.gather(dim, index), z.shape[dim]
    if n > 1:
        call.crosses(
            z.narrow(dim, 1, n - 1) - values.narrow(dim, 0, n - 1),
            dz.narrow(dim, 1, n - 1) - rates.narrow(dim, 0, n - 1),
        )
    return [rates, None]


@piece_rule("linalg_vector_norm")
def norm(call: PieceCall) -> Found:
    """Σ|z|; other norms are curved."""
    if call.get("ord", call.get("p", 2)) != 1:
        if call.moves():
            call.refuse("a norm is curved, unless it is a sum of absolute values")
        return None
    z, dz = _given(call)
    call.crosses(z, dz)
    dims = call.get("dim")
    dims = tuple(range(z.dim())) if dims is None or dims == [] else dims
    found: Tensor = (dz * z.sign()).sum(dims, keepdim=bool(call.get("keepdim", False)))
    return found
