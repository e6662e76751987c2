"""Piecewise linear with kinks on rays from the origin: f(αx) = αf(x) for α > 0.

Cutting off at a value, and shrinking by one, are that only if the value is zero or infinite, or scales itself.
"""

from __future__ import annotations

from torch import Tensor

from captum_xg._core.finding import or_convert
from captum_xg.homogeneity.degree import (
    Reason,
    Scaling,
    comparison_of,
    maximum_of,
    nonlinear_of,
    product_of,
    selection_of,
    sum_of,
)
from captum_xg.homogeneity.rules.common import joined
from captum_xg.homogeneity.rules.op_call import OpCall, largest
from captum_xg.homogeneity.rules.registry import degree_rule
from captum_xg.homogeneity.rules.schema import RANDOM

RECTIFIER = or_convert("put nn.ReLU, nn.LeakyReLU or nn.PReLU there")


@degree_rule("relu", "abs", "leaky_relu", elementwise=True)
def rectifier(call: OpCall) -> Scaling:
    """f(αx) = αf(x)."""
    return call.scaling("self")


@degree_rule("_prelu_kernel", elementwise=True)
def rectifier_with_weight(call: OpCall) -> Scaling:
    """Linear where x is positive, and linear elsewhere."""
    return sum_of(call.scaling("self"), product_of(*call.scalings("self", "weight")))


@degree_rule("rrelu_with_noise", elementwise=True)
def rectifier_with_noise(call: OpCall) -> Scaling:
    """A leaky ReLU, whose slope is random in training."""
    return call.scaling("self").because(*([RANDOM] if call.get("training") else []))


@degree_rule("threshold", elementwise=True)
def threshold(call: OpCall) -> Scaling:
    """Keeps what exceeds a threshold, and puts a value elsewhere."""
    scaling, limit, value = call.neutralised(call["self"], call["threshold"], call["value"])
    compares = Reason(f"compares with the threshold {call['threshold']:g}, which αx crosses", RECTIFIER)
    replaces = Reason(f"puts the constant {call['value']:g} below its threshold", RECTIFIER)
    chosen = selection_of(comparison_of(scaling, limit, reason=compares), scaling, value, reason=replaces)
    # Where nothing scales, a value of infinity is not zero.
    return nonlinear_of(chosen, replaces) if chosen.scale_free else chosen


@degree_rule("clamp", "clamp_min", "clamp_max", elementwise=True)
def clamp(call: OpCall) -> Scaling:
    """min(max(x, lower), upper)."""
    return _limited(call, call.get("min"), call.get("max"), "Clamp at zero or infinity, or at what scales alike")


@degree_rule("hardtanh", elementwise=True)
def hard_tanh(call: OpCall) -> Scaling:
    """min(max(x, lower), upper); ReLU6 is one."""
    return _limited(call, call["min_val"], call["max_val"], RECTIFIER)


def _limited(call: OpCall, lower: object, upper: object, remedy: str) -> Scaling:
    scaling, low, high = call.neutralised(call["self"], lower, upper)
    reason = None
    if scaling.depends_on_input and (low.constant or high.constant):
        what = f"saturates at {_bound(upper if high.constant else lower)}, so a large enough αx is cut off"
        if low.constant and not high.constant and not (isinstance(lower, (int, float)) and lower < 0):
            what = f"does not fall below {_bound(lower)}, as αx does for a small enough α"
        reason = Reason(what, remedy)
    return joined(call, call["self"], lower, upper, reason=reason, combine=maximum_of)


def _bound(value: object) -> str:
    return f"fixed values of up to {largest(value):.2g}" if isinstance(value, Tensor) else f"{value:g}"


@degree_rule("maximum", "minimum", "fmax", "fmin", elementwise=True)
def larger(call: OpCall) -> Scaling:
    """α > 0 keeps the order."""
    return joined(call, call["self"], call["other"], combine=maximum_of)


@degree_rule("hardshrink", "softshrink", elementwise=True)
def shrink(call: OpCall) -> Scaling:
    """Zero within ±lambd; without that, x itself (only hardshrink accepts less than zero)."""
    if call["lambd"] <= 0:
        return call.scaling("self")
    reason = Reason(f"compares with the fixed threshold {call['lambd']:g}, which αx crosses", RECTIFIER)
    return nonlinear_of(call.scaling("self"), reason, otherwise=1.0)


@degree_rule("nan_to_num", elementwise=True)
def replace_undefined(call: OpCall) -> Scaling:
    """Keeps what is finite; NaN and infinities stay so for every α, and what replaces them must, too."""
    scaling = call.scaling("self")
    replacements = (call.get("nan") or 0.0, call.get("posinf"), call.get("neginf"))
    floating = call["self"].dtype.is_floating_point or call["self"].dtype.is_complex
    if not floating or all(value is not None and call.is_neutral(value) for value in replacements):
        return nonlinear_of(scaling, Reason("")) if scaling.zero else scaling  # 0·∞ is NaN
    # Infinities are legitimate values of what scales (masks are made of them), and none has been ruled out.
    reason = Reason(
        "replaces infinities or NaN by finite numbers, which would not scale; whether there are any is not known",
        "Pass posinf=float('inf') and neginf=-float('inf'), or zeros, or leave it out",
        kind="unknown",
    )
    return nonlinear_of(scaling, reason, otherwise=1.0)
