"""Functions of single numbers that are affine between a few places, and comparisons, which are constant there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_xg.homogeneity.piecewise.call import PieceCall
from captum_xg.homogeneity.piecewise.registry import Found, piece_rule


def _self(call: PieceCall) -> tuple[Tensor, Tensor]:
    """Return the argument and its tangent; what else is given must stand still."""
    call.fixed(*(name for name in call.event.arguments if name != "self"))
    z, tangent = call["self"], call.tangent("self")
    return z, torch.zeros_like(z) if tangent is None else tangent


@piece_rule("relu")
def relu(call: PieceCall) -> Found:
    """Z where it is positive."""
    z, dz = _self(call)
    call.crosses(z, dz)
    found: Tensor = torch.ops.aten.threshold_backward(dz, z, 0)
    return found


@piece_rule("leaky_relu", "rrelu_with_noise")
def leaky_relu(call: PieceCall) -> Found:
    """Z where it is positive, and a multiple of it elsewhere; RReLU draws that one only in training."""
    z, dz = _self(call)
    if call.name == "leaky_relu":
        slope = call["negative_slope"]
    else:
        if call["training"]:
            call.refuse("its slopes are random in training")
        slope = (call["lower"] + call["upper"]) / 2
    call.crosses(z, dz)
    return torch.where(z > 0, dz, slope * dz)


@piece_rule("_prelu_kernel")
def prelu(call: PieceCall) -> Found:
    """The same with a slope for each channel."""
    z, dz = _self(call)
    call.crosses(z, dz)
    return torch.where(z > 0, dz, call["weight"] * dz)


@piece_rule("abs")
def absolute(call: PieceCall) -> Found:
    """±z."""
    z, dz = _self(call)
    call.crosses(z, dz)
    return dz * z.sign()


@piece_rule("hardtanh")
def hard_tanh(call: PieceCall) -> Found:
    """Z between two bounds; ReLU6 is one."""
    return _bounded(call, call["min_val"], call["max_val"])


@piece_rule("clamp", "clamp_min", "clamp_max")
def clamp(call: PieceCall) -> Found:
    """Z between two bounds, which may be tensors."""
    return _bounded(call, call.get("min"), call.get("max"))


def _bounded(call: PieceCall, lower: Any, upper: Any) -> Tensor:
    z, dz = call["self"], call.tangent("self")
    dz = torch.zeros_like(z) if dz is None else dz
    found = dz
    for bound, above in ((lower, False), (upper, True)):
        if bound is None:
            continue
        rate = call.tangent_of(bound)
        if isinstance(bound, Tensor) and bound.dim() == 0 and rate is None and bool(bound.isinf()):
            continue
        if not isinstance(bound, Tensor) and abs(bound) == float("inf"):
            continue
        outside = z > bound if above else z < bound
        call.crosses(z - bound, dz if rate is None else dz - rate)
        found = torch.where(outside, torch.zeros_like(found) if rate is None else rate, found)
    return found


@piece_rule("threshold")
def threshold(call: PieceCall) -> Found:
    """Z where it exceeds a threshold, and a number elsewhere."""
    z, dz = _self(call)
    call.crosses(z - call["threshold"], dz)
    return torch.where(z > call["threshold"], dz, 0.0)


@piece_rule("hardshrink", "softshrink")
def shrunk(call: PieceCall) -> Found:
    """Zero within ±λ, and z itself or nearer by λ outside."""
    z, dz = _self(call)
    call.crosses(z - call["lambd"], dz)
    call.crosses(z + call["lambd"], dz)
    return torch.where(z.abs() > call["lambd"], dz, 0.0)


@piece_rule("hardsigmoid")
def hard_sigmoid(call: PieceCall) -> Found:
    """z/6 + 1/2 between 0 and 1, but for its gradient."""
    if call.moves():
        call.refuse("PyTorch rounds its gradient, 1/6, to float32 in every dtype; relu6(x + 3) / 6 is the same in full")
    return None


@piece_rule("maximum", "minimum", "fmax", "fmin")
def larger(call: PieceCall) -> Found:
    """The larger, or smaller, of two."""
    difference, rate = call.pair("self", "other")
    call.crosses(difference, rate)
    a, b = (_or_zero(call, name, difference) for name in ("self", "other"))
    return torch.where(difference > 0 if "max" in call.name else difference < 0, a, b)


def _or_zero(call: PieceCall, name: str, like: Tensor) -> Tensor:
    tangent = call.tangent(name)
    return torch.zeros_like(like) if tangent is None else tangent.expand(like.shape)


@piece_rule("gt", "ge", "lt", "le", "eq", "ne")
def compared(call: PieceCall) -> Found:
    """Constant as long as the difference keeps its sign."""
    difference, rate = call.pair("self", "other")
    if bool(difference.isfinite().all()):
        call.crosses(difference, rate)
    else:  # compared with infinity
        finite = difference.isfinite()
        call.crosses(torch.where(finite, difference, 1.0), None if rate is None else torch.where(finite, rate, 0.0))
    return None


@piece_rule("sign", "sgn", "signbit", "logical_not", "heaviside")
def sign(call: PieceCall) -> Found:
    """Constant as long as the number keeps its sign."""
    z, dz = _self(call)
    call.crosses(z, dz)
    return None


@piece_rule("logical_and", "logical_or", "logical_xor")
def both(call: PieceCall) -> Found:
    """Constant as long as both keep their signs."""
    for name in ("self", "other"):
        call.crosses(call[name], call.tangent(name))
    return None


@piece_rule("any", "all", "count_nonzero", "nonzero")
def of_zeros(call: PieceCall) -> Found:
    """Constant as long as no number passes zero."""
    call.crosses(call["self"], call.tangent("self"))
    return None


@piece_rule("floor", "ceil", "trunc", "round", "frac")
def rounded(call: PieceCall) -> Found:
    """Constant up to the next whole number, or the next half."""
    z, dz = _self(call)
    if call.get("decimals", 0) != 0:
        call.refuse("it rounds to decimals")
    below = (z - 0.5).floor() + 0.5 if call.name == "round" else z.floor()
    call.crosses(z - below, dz)
    call.crosses(z - below - 1, dz)
    return dz if call.name == "frac" else None
