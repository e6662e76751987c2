"""Products: linear in each factor, so affine as long as no more than one of them moves."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg.homogeneity.piecewise.call import PieceCall
from captum_xg.homogeneity.piecewise.registry import Found, piece_rule

_FACTORS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mm": (("self", "mat2"), ()),
    "bmm": (("self", "mat2"), ()),
    "mv": (("self", "vec"), ()),
    "dot": (("self", "tensor"), ()),
    "linear": (("input", "weight"), ("bias",)),
    "convolution": (("input", "weight"), ("bias",)),
    "addmm": (("mat1", "mat2"), ("self",)),
    "addmv": (("mat", "vec"), ("self",)),
    "addbmm": (("batch1", "batch2"), ("self",)),
    "baddbmm": (("batch1", "batch2"), ("self",)),
    "addr": (("vec1", "vec2"), ("self",)),
    "addcmul": (("tensor1", "tensor2"), ("self",)),
    "grid_sampler_2d": (("input", "grid"), ()),
    "grid_sampler_3d": (("input", "grid"), ()),
    "lerp": (("end", "weight"), ()),
}
"""For each product its factors, and what is added to it."""
_CURVED = {"grid_sampler_2d": ("grid",), "grid_sampler_3d": ("grid",), "lerp": ("weight",)}
"""Factors that must not move at all."""
_CHANNELS = 4
"""From how many channels on a convolution takes longer than its gradient."""


@piece_rule("mul")
def times(call: PieceCall) -> Found:
    """(a·b)' = a'·b + a·b', where at no place both move."""
    a: Tensor = call["self"]
    b: Tensor = call["other"]
    da, db = call.tangent("self"), call.tangent("other")
    if da is not None and db is not None:
        if bool(((da != 0) & (db != 0)).any()):
            call.refuse("both factors depend on the input, so their product is curved")
        return da * b + db * a
    if da is not None:
        return da * b
    assert db is not None
    return db * a


@piece_rule(*_FACTORS)
def product(call: PieceCall) -> Found:
    """The same for sums of products."""
    factors, added = _FACTORS[call.name]
    call.fixed(*_CURVED.get(call.name, ()))
    if call.name == "lerp":
        found: Tensor = torch.lerp(_or_zero(call, "self"), _or_zero(call, "end"), call["weight"])
        return found
    moving = [name for name in factors if call.tangent(name) is not None]
    if len(moving) > 1:
        moving = [name for name in factors if call.moving(name) is not None]
        if len(moving) > 1:
            call.refuse("both factors depend on the input, so their product is curved")
    total: Tensor | None = None
    if moving:
        without: dict[str, object] = {"bias": None} if "bias" in added else {}
        if "beta" in call:
            without["beta"] = 0
        elif added == ("self",):
            without["self"] = torch.zeros_like(call["self"])
        tangent = call.tangent(moving[0])
        assert tangent is not None
        quick = _convolved(call, tangent) if call.name == "convolution" and moving[0] == "input" else None
        total = call.on({**without, moving[0]: tangent}) if quick is None else quick
    for name in added:
        tangent = call.tangent(name)
        if tangent is not None:
            total = _with(call, total, tangent * call.get("beta", 1), name)
    return total


def _convolved(call: PieceCall, tangent: Tensor) -> Tensor | None:
    """Return a convolution in float64 on a CPU in half the time, as a gradient; None for other ones.

    With steps of 1 it is the gradient of the convolution by the weights with their sides exchanged and turned around.
    PyTorch computes that faster than the convolution itself, which unfolds its input element by element.
    """
    weight, padding = call["weight"], call["padding"]
    plain = set(call["stride"]) == set(call["dilation"]) == {1} and call["groups"] == 1 and not call["transposed"]
    sides = [k - 1 - pad for k, pad in zip(weight.shape[2:], padding, strict=False)]
    if not (plain and weight.dim() == 4 and weight.is_cpu and weight.shape[1] >= _CHANNELS and min(sides) >= 0):
        return None
    turned = weight.detach().flip(2, 3).transpose(0, 1)
    like, ones = call.event.output.detach(), [1, 1]
    found: Tensor = torch.ops.aten.convolution_backward(
        tangent, like, turned, None, ones, sides, ones, False, [0, 0], 1, [True, False, False]
    )[0]
    return found


def _or_zero(call: PieceCall, name: str) -> Tensor:
    tangent = call.tangent(name)
    return torch.zeros_like(call[name]) if tangent is None else tangent


def _with(call: PieceCall, total: Tensor | None, tangent: Tensor, name: str) -> Tensor:
    if name == "bias" and "convolution" in call.name:
        call.fixed("bias")
        return torch.zeros_like(call.event.output) if total is None else total
    if total is None:
        total = torch.zeros_like(call.event.output if call.event.output is not None else call["self"])
    return total + tangent


@piece_rule("div")
def divided(call: PieceCall) -> Found:
    """Linear in the numerator."""
    if call.get("rounding_mode") is not None:
        if call.moves():
            call.refuse("it rounds a quotient")
        return None
    if call.moving("other") is not None:
        call.refuse("it divides by something that depends on the input")
    tangent = call.tangent("self")
    return None if tangent is None else tangent / call["other"]


@piece_rule("addcdiv")
def quotient_added(call: PieceCall) -> Found:
    """The same, added to something."""
    call.fixed("tensor2")
    total = _or_zero(call, "self")
    numerator = call.tangent("tensor1")
    return total if numerator is None else total + call.get("value", 1) * numerator / call["tensor2"]


@piece_rule(
    *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"),
    *("_batch_norm_no_update", "_batch_norm_with_update", "miopen_batch_norm"),
)
def batch_norm(call: PieceCall) -> Found:
    """(z − mean)·weight/√(var + eps) by channel, with statistics that are kept."""
    if call.get("training", False) or call.name == "_batch_norm_with_update":
        call.refuse("it normalises by the statistics of the batch")
    call.fixed("weight", "bias", "running_mean", "running_var")
    tangent = call.tangent("input")
    if tangent is None:
        return [None] * len(call.event.results)
    epsilon = call.get("eps", call.get("epsilon", 1e-5))
    factor = torch.rsqrt(call["running_var"].to(torch.float64) + epsilon)
    if call.get("weight") is not None:
        factor = factor * call["weight"]
    shape = (1, -1, *[1] * (tangent.dim() - 2))
    return [tangent * factor.reshape(shape), *[None] * (len(call.event.results) - 1)]
