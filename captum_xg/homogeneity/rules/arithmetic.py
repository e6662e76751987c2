"""Arithmetic: sums, products, quotients and powers of numbers at one place, and what is put together from them.

An operation belongs here if its result has a degree for degrees of its arguments that need not be 0 or agree by
comparison: degrees of factors add, those of terms must be equal, powers multiply them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import SupportsFloat

import torch
from torch import Tensor

from captum_xg.homogeneity.degree import (
    CONSTANT,
    SIGNED_ZERO,
    Reason,
    Scaling,
    nonlinear_of,
    power_of,
    product_of,
    quotient_of,
    rounded_degree,
    sum_of,
)
from captum_xg.homogeneity.rules.common import factor, joined, nonlinear_together, plus, whole_steps
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule


@degree_rule("add", "sub", "_add_relu", elementwise=True)
def add(call: OpCall) -> Scaling:
    """A sum of a term and α times another."""
    return joined(call, call["self"], call["other"] if call.get("alpha", 1) != 0 else None)


@degree_rule("rsub", elementwise=True)
def reversed_subtraction(call: OpCall) -> Scaling:
    """A sum of a term and -α times another."""
    return joined(call, call["self"] if call.get("alpha", 1) != 0 else None, call["other"])


@degree_rule("mul", elementwise=True)
def multiply(call: OpCall) -> Scaling:
    """Degrees of factors add."""
    return call.product(call["self"], call["other"])


@degree_rule("div", elementwise=True)
def divide(call: OpCall) -> Scaling:
    """Degrees subtract; a quotient that is rounded must be scale-free."""
    quotient = quotient_of(factor(call, call["self"]), factor(call, call["other"]))
    return quotient if call.get("rounding_mode") is None else whole_steps(quotient)


@degree_rule("floor_divide", elementwise=True)
def divide_whole(call: OpCall) -> Scaling:
    """A rounded quotient."""
    return whole_steps(quotient_of(factor(call, call["self"]), factor(call, call["other"])))


@degree_rule("remainder", "fmod", elementwise=True)
def remainder(call: OpCall) -> Scaling:
    """What is left of αx if multiples of αy are taken away is α times what is left of x."""
    return joined(
        call,
        call["self"],
        call["other"],
        reason=Reason("takes the remainder of a division by what does not scale alike", "Leave it out"),
    )


@degree_rule("neg", "positive", "deg2rad", "rad2deg", elementwise=True)
def multiple(call: OpCall) -> Scaling:
    """A fixed multiple."""
    return call.scaling("self")


_FIXED_POWERS = {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0, "square": 2.0}


@degree_rule(*_FIXED_POWERS, elementwise=True)
def fixed_power(call: OpCall) -> Scaling:
    """(αᵏx)^p = α^(kp)x^p."""
    return power_of(call.scaling("self"), _FIXED_POWERS[call.name.rstrip("_")])


@degree_rule("pow", elementwise=True)
def power(call: OpCall) -> Scaling:
    """(αᵏx)^p = α^(kp)x^p for one p; else nothing is known of it."""
    return raised(call, call["self"], call["exponent"])


def raised(call: OpCall, base: object, exponent: object) -> Scaling:
    """Return the scaling of base to the power of exponent."""
    bottom, top = factor(call, base), factor(call, exponent)
    bottom_varies, top_varies = (s.depends_on_input and not s.scale_free for s in (bottom, top))
    if top.depends_on_input or (isinstance(exponent, Tensor) and not bottom_varies):
        return nonlinear_together(
            bottom,
            top,
            reason=Reason("raises to a power that depends on the input", "Use a fixed exponent")
            if top.depends_on_input
            else Reason("raises to powers of different size", "Use one exponent"),
            otherwise=None if bottom_varies or not top_varies else 0.0,
        )
    fixed = _common_value(call, exponent)
    if fixed is None:
        return nonlinear_of(
            bottom, Reason("raises to powers of different size", "Use one exponent, and a real one"), otherwise=None
        )
    result = power_of(bottom, fixed)
    coarse = any(isinstance(t, Tensor) and t.dtype in _COARSE for t in (base, exponent))
    # Of what has degree 1 the exponent itself is the degree, and exact: x.pow(1.0000002) has not degree 1.
    if result.degree is None or not coarse or abs(bottom.degree or 1.0) == 1:
        return result
    # In 32 bits, p and 1/p are rounded: x.pow(p).mean().pow(1 / p) has degree 1, and not 1.00000003.
    return replace(result, degree=rounded_degree(result.degree, 2.0**-22))


_COARSE = (torch.float32, torch.complex64, torch.float16, torch.bfloat16)


def _common_value(call: OpCall, exponent: object) -> float | None:
    """Return the one real value of a constant exponent, None if there are several."""
    if isinstance(exponent, Tensor):
        call.depend_on(exponent)
        values = exponent.detach().flatten()
        if len(values) == 0:
            return 1.0
        if not bool((values == values[0]).all()):
            return None
        exponent = values[0].item()
    if isinstance(exponent, complex):
        return exponent.real if exponent.imag == 0 else None
    return float(exponent) if isinstance(exponent, SupportsFloat) else None


@degree_rule("addcmul", elementwise=True)
def add_product(call: OpCall) -> Scaling:
    """A sum of a term and value·a·b."""
    product = product_of(factor(call, call.get("value", 1)), *call.scalings("tensor1", "tensor2"))
    return plus(call, product, call["self"])


@degree_rule("addcdiv", elementwise=True)
def add_quotient(call: OpCall) -> Scaling:
    """A sum of a term and value·a/b."""
    product = product_of(factor(call, call.get("value", 1)), call.scaling("tensor1"))
    return plus(call, quotient_of(product, call.scaling("tensor2")), call["self"])


@degree_rule("lerp", elementwise=True)
def interpolate(call: OpCall) -> Scaling:
    """A sum of a term and weight times a difference."""
    difference = call.sum(call["self"], call["end"])
    return plus(call, product_of(factor(call, call["weight"]), difference), call["self"])


@degree_rule("hypot", elementwise=True)
def hypotenuse(call: OpCall) -> Scaling:
    """√(a² + b²)."""
    return joined(call, call["self"], call["other"])


@degree_rule("copysign", elementwise=True)
def copy_sign(call: OpCall) -> Scaling:
    """|self| times the sign of other, which α does not change."""
    sign = call.scaling("other")
    size = factor(call, call["self"])
    if size.zero and sign.depends_on_input:
        return replace(SIGNED_ZERO, reasons=size.reasons)
    return product_of(size, sign.in_steps() if sign.depends_on_input else CONSTANT)


@degree_rule("sign", "sgn", "angle", elementwise=True)
def sign(call: OpCall) -> Scaling:
    """x/|x|, or the angle of it: in steps for real numbers, smooth for complex ones."""
    scaling = call.scaling("self")
    if call.name == "angle" and scaling.zero:
        return scaling.in_steps() if scaling.signed else replace(CONSTANT, reasons=scaling.reasons)  # of -0 it is π
    return without_size(scaling) if torch.is_complex(call["self"]) else scaling.in_steps()


def without_size(scaling: Scaling) -> Scaling:
    """Return the scaling of a direction: of degree 0, if there is any degree."""
    return (
        scaling.in_steps()
        if scaling.signed
        else replace(scaling, degree=0.0)
        if scaling.depends_on_input and scaling.degree is not None
        else scaling
    )


@degree_rule("atan2", elementwise=True)
def direction(call: OpCall) -> Scaling:
    """The angle of a pair of numbers, which α keeps if it multiplies both alike."""
    reason = Reason("takes the angle between what does not scale alike", "Bring both to one degree")
    both = joined(call, call["self"], call["other"], reason=reason)
    return without_size(both) if both.signed or not both.zero else replace(CONSTANT, reasons=both.reasons)


@degree_rule("polar", elementwise=True)
def polar(call: OpCall) -> Scaling:
    """abs·(cos + i·sin) of an angle."""
    turned = nonlinear_of(call.scaling("angle"), Reason("takes sine and cosine of an angle that scales"))
    length = call.scaling("abs")
    result = product_of(length, turned)
    if length.stepwise or result.zero:
        return result
    return result.because(
        Reason(
            "has a gradient that is right only for lengths that are not negative, which is not known here",
            "Multiply the length by torch.polar(ones, angle)",
            kind="unknown",
        )
    )


@degree_rule("xlogy", "special_xlog1py", "ldexp", elementwise=True)
def times_function(call: OpCall) -> Scaling:
    """self·f(other)."""
    f = "a power" if call.name.startswith("ldexp") else "a logarithm"
    function = nonlinear_of(factor(call, call["other"]), Reason(f"multiplies by {f} of what scales", "Leave it out"))
    return product_of(factor(call, call["self"]), function)


_Each = Callable[[OpCall, object, object], Scaling]

_FOREACH: dict[str, _Each] = {
    "add": lambda call, a, b: joined(call, a, b if call.get("alpha", 1) != 0 else None),
    "sub": lambda call, a, b: joined(call, a, b if call.get("alpha", 1) != 0 else None),
    "mul": lambda call, a, b: product_of(factor(call, a), factor(call, b)),
    "div": lambda call, a, b: quotient_of(factor(call, a), factor(call, b)),
    "pow": raised,
    "neg": lambda call, a, _: call.scaling_of(a),
    "abs": lambda call, a, _: call.scaling_of(a),
    "sqrt": lambda call, a, _: power_of(call.scaling_of(a), 0.5),
    "rsqrt": lambda call, a, _: power_of(call.scaling_of(a), -0.5),
    "reciprocal": lambda call, a, _: power_of(call.scaling_of(a), -1.0),
    "sign": lambda call, a, _: call.scaling_of(a).in_steps(),
}


@degree_rule(*(f"_foreach_{name}" for name in _FOREACH))
def for_each(call: OpCall) -> Scaling | list[Scaling]:
    """The same for each tensor of a list, with a tensor of another list, or one number or tensor for all."""
    each = _FOREACH[call.name.removeprefix("_foreach_").rstrip("_")]
    names = ("other", "scalars", "scalar", "exponent")
    other = next((call[name] for name in names if call.get(name) is not None), None)
    n = max(len(side) for side in (call["self"], other) if isinstance(side, (list, tuple)))
    left, right = (side if isinstance(side, (list, tuple)) else [side] * n for side in (call["self"], other))
    scalings = [each(call, a, b) for a, b in zip(left, right, strict=True)]
    return scalings if call.n_results == 0 else sum_of(*scalings)
