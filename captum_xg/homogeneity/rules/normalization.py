"""Normalisation: differences from a mean, divided by a spread, that is multiplied by a weight and shifted by a bias.

Fixed statistics leave it linear up to a shift. Statistics of the input itself make it scale-free, but for eps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from captum_xg.homogeneity.degree import (
    CONSTANT,
    Reason,
    Scaling,
    nonlinear_of,
    power_of,
    product_of,
    sum_of,
    unknown,
)
from captum_xg.homogeneity.rules.common import with_bias
from captum_xg.homogeneity.rules.op_call import OpCall, largest
from captum_xg.homogeneity.rules.registry import degree_rule

_OUT = "Use to_xdnn(model), or leave it out"

_BACKWARD = unknown("uses what a normalisation keeps for its backward pass")


def _normalised(scaling: Scaling, eps: float, reason: Reason) -> tuple[Scaling, Scaling]:
    """Return how (x - mean)·r and r = 1/√(variance + eps) scale, with statistics of x itself."""
    if eps != 0:
        return nonlinear_of(scaling, reason), nonlinear_of(scaling, reason, otherwise=-1.0)
    if not scaling.depends_on_input:
        constant = replace(CONSTANT, reasons=scaling.reasons)
        return constant, constant
    return power_of(scaling, -1) if scaling.degree is None else replace(scaling, degree=0.0), power_of(scaling, -1)


def _layer_reason(eps: float) -> Reason:
    return Reason(
        f"divides by a statistic of its input plus a constant eps = {eps:g}, and so does not scale with α", _OUT
    )


def _batch_reason(call: OpCall, eps: float) -> Reason:
    mixes = ", which mixes examples," if call["input"].size(0) > 1 else ""
    return Reason(
        f"normalises by the statistics of the batch{mixes} plus a constant eps = {eps:g}",
        "Call model.eval(), use running statistics, or leave it out",
    )


@degree_rule("native_layer_norm", "native_group_norm")
def by_own_statistics(call: OpCall) -> Sequence[Scaling]:
    """(x - mean)·r·weight + bias; with the mean, and r = 1/√(variance + eps)."""
    scaling = call.scaling("input")
    normalised, slope = _normalised(scaling, call["eps"], _layer_reason(call["eps"]))
    return with_bias(call, product_of(normalised, _weight(call)), call["bias"]), scaling, slope


@degree_rule("_fused_rms_norm")
def by_root_mean_square(call: OpCall) -> Sequence[Scaling]:
    """x·r·weight; with r = 1/√(mean square + eps), where eps is the resolution of the dtype by default."""
    eps = torch.finfo(call["input"].dtype).eps if call["eps"] is None else call["eps"]
    normalised, slope = _normalised(call.scaling("input"), eps, _layer_reason(eps))
    return product_of(normalised, _weight(call)), slope


@degree_rule("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "miopen_batch_norm")
def batch_norm(call: OpCall) -> Sequence[Scaling]:
    """By the statistics of the batch in training, else by running ones."""
    return _trained(call) if call["training"] else _evaluated(call)


@degree_rule("_native_batch_norm_legit_no_training", "_batch_norm_no_update")
def batch_norm_evaluated(call: OpCall) -> Sequence[Scaling]:
    """By running statistics."""
    return _evaluated(call)


@degree_rule(
    *("_batch_norm_with_update", "_batch_norm_with_update_functional", "_native_batch_norm_legit_functional"),
)
def batch_norm_updated(call: OpCall) -> Sequence[Scaling]:
    """By the statistics of the batch; functional forms return new running statistics last."""
    if not call.get("training", True):
        results = list(_evaluated(call))
        return [*results[: call.n_results - 2], *call.scalings("running_mean", "running_var")]
    results = list(_trained(call))
    if not call.name.endswith("_functional"):
        return results
    mean = call.sum(call["running_mean"], call["input"])
    variance = sum_of(call.scaling("running_var"), power_of(call.scaling("input"), 2))
    return [*results[: call.n_results - 2], mean, variance]


def _trained(call: OpCall) -> Sequence[Scaling]:
    scaling, eps = call.scaling("input"), _eps(call)
    normalised, slope = _normalised(scaling, eps, _batch_reason(call, eps))
    output = with_bias(call, product_of(normalised, _weight(call)), call["bias"])
    return [output, scaling, slope, *[_BACKWARD] * 3][: call.n_results]


def _evaluated(call: OpCall) -> Sequence[Scaling]:
    """(x - running mean)·weight/√(running variance + eps) + bias."""
    mean, variance = call.scalings("running_mean", "running_var")
    slope = power_of(variance, -0.5)
    if variance.depends_on_input and _eps(call) != 0:
        slope = nonlinear_of(variance, _layer_reason(_eps(call)), otherwise=-0.5)
    scaling = call.scaling("input")
    constants = [call.scaling("bias"), mean, variance, _weight(call)]
    if any(constant.depends_on_input or constant.reasons for constant in constants):
        centred = call.sum(call["input"], call["running_mean"])
        output = with_bias(call, product_of(centred, slope, _weight(call)), call["bias"])
    elif scaling.zero:
        output = replace(CONSTANT, reasons=scaling.reasons)
    elif scaling.scale_free or scaling.degree is None or _without_shift(call):
        output = scaling
    else:
        output = scaling.because(
            Reason(
                f"adds a shift of up to {_largest_shift(call):.2g} (bias - running mean · slope)",
                "Use to_xdnn(model), or train without it",
            )
        )
    # What CUDA returns besides is the running mean and slope; the CPU returns nothing.
    return [output, mean if mean.depends_on_input else CONSTANT, slope, *[_BACKWARD] * 3][: call.n_results]


def _without_shift(call: OpCall) -> bool:
    """Return whether bias - mean·weight/√(variance + eps) is zero, where no rounding enters: term by term."""
    bias, mean, weight = call["bias"], call["running_mean"], call["weight"]
    if call.is_neutral(bias) and call.is_neutral(mean):
        return True
    shifted = torch.zeros_like(mean, dtype=torch.bool) if bias is None else bias.detach() != 0
    centred = mean.detach() != 0 if weight is None else (mean.detach() != 0) & (weight.detach() != 0)
    if bool((shifted | centred).any()):
        return False
    for constant in (bias, mean, weight):
        if constant is not None:
            call.depend_on(constant)
    return True


def _largest_shift(call: OpCall) -> float:
    mean, bias, weight = call["running_mean"].detach(), call["bias"], call["weight"]
    slope = torch.rsqrt(call["running_var"].detach() + _eps(call))
    shift = -mean * (slope if weight is None else slope * weight.detach())
    return largest(shift if bias is None else shift + bias.detach())


def _weight(call: OpCall) -> Scaling:
    weight = call["weight"]
    return call.scaling("weight") if isinstance(weight, Tensor) else CONSTANT


def _eps(call: OpCall) -> float:
    eps: float = call["eps"] if "eps" in call.arguments else call["epsilon"]
    return eps
