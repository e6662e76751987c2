"""Arithmetic: sums, products, quotients and powers of numbers at one place, and what is put together from them.

An operation belongs here if its result has a degree for degrees of its arguments that need not be 0 or agree by
comparison: degrees of factors add, those of terms must be equal, powers multiply them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

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
    sum_of,
)
from captum_xg.homogeneity.rules.op_call import WITHOUT_IT, Call, largest
from captum_xg.homogeneity.rules.registry import degree_rule


def given(call: Call) -> list[Scaling]:
    """Return how all arguments scale that are read, which leaves out where results are put."""
    names = [argument.name for argument in call.func._schema.arguments if not argument.is_out]
    return [call.scaling(name) for name in names if isinstance(call[name], (Tensor, list, tuple))]


def factor(call: Call, value: Any) -> Scaling:
    """Return how a factor scales: infinity leaves sums as they are, but a product with it is not zero."""
    scaling = call.scaling_of(value)
    return CONSTANT if scaling.zero and _infinite(value) else scaling


def joined(call: Call, *values: Any, reason: Reason | None = None, combine: Callable[..., Scaling] = sum_of) -> Scaling:
    """Return what :meth:`Call.sum` gives, except that of zeros and infinities alone the result is not zero."""
    result = call.sum(*values, reason=reason, combine=combine)
    return replace(CONSTANT, reasons=result.reasons) if result.zero and any(map(_infinite, values)) else result


def nonlinear_together(*arguments: Scaling, reason: Reason, otherwise: float | None = 0.0) -> Scaling:
    """Return the scaling of a function of several arguments about which nothing is assumed; see ``nonlinear_of``."""
    told = [argument for argument in arguments if argument.degree is not None or argument.zero]
    varying = [argument.degree for argument in told if argument.degree is not None and not argument.scale_free]
    if not varying:
        return nonlinear_of(sum_of(*arguments), reason)
    reasons = frozenset({reason}).union(*(argument.reasons for argument in arguments))
    degree = None if otherwise is None or len(told) < len(arguments) else max(varying) * otherwise
    guessed = otherwise != 1 or any(argument.guessed for argument in arguments)
    stepwise = all(argument.stepwise for argument in arguments)
    return Scaling(degree, stepwise=stepwise, reasons=reasons, guessed=guessed)


def whole_steps(scaling: Scaling) -> Scaling:
    """Return the scaling of a number rounded to a whole one."""
    reason = Reason("rounds to whole numbers, which αx passes one after the other", "Leave the rounding out")
    rounded = nonlinear_of(scaling, reason, otherwise=1.0)
    return rounded.in_steps() if scaling.scale_free else rounded


def plus(call: Call, product: Scaling, addend: Any) -> Scaling:
    """Return the scaling of product + addend."""
    scaling = factor(call, addend)
    if not scaling.constant or product.scale_free or product.degree is None:
        return sum_of(product, scaling)
    if call.is_neutral(addend):
        return product.because(*scaling.reasons)
    return sum_of(
        product,
        scaling,
        reason=Reason(f"adds a constant of up to {largest(addend):.2g}", WITHOUT_IT),
    )


@degree_rule("add", "sub", "_add_relu", elementwise=True)
def add(call: Call) -> Scaling:
    """A sum of a term and α times another."""
    return joined(call, call["self"], call["other"] if call.get("alpha", 1) != 0 else None)


@degree_rule("rsub", elementwise=True)
def reversed_subtraction(call: Call) -> Scaling:
    """A sum of a term and -α times another."""
    return joined(call, call["self"] if call.get("alpha", 1) != 0 else None, call["other"])


@degree_rule("mul", elementwise=True)
def multiply(call: Call) -> Scaling:
    """Degrees of factors add."""
    return call.product(call["self"], call["other"])


@degree_rule("div", elementwise=True)
def divide(call: Call) -> Scaling:
    """Degrees subtract; a quotient that is rounded must be scale-free."""
    quotient = quotient_of(factor(call, call["self"]), factor(call, call["other"]))
    return quotient if call.get("rounding_mode") is None else whole_steps(quotient)


@degree_rule("floor_divide", elementwise=True)
def divide_whole(call: Call) -> Scaling:
    """A rounded quotient."""
    return whole_steps(quotient_of(factor(call, call["self"]), factor(call, call["other"])))


@degree_rule("remainder", "fmod", elementwise=True)
def remainder(call: Call) -> Scaling:
    """What is left of αx if multiples of αy are taken away is α times what is left of x."""
    return joined(
        call,
        call["self"],
        call["other"],
        reason=Reason("takes the remainder of a division by what does not scale alike", "Leave it out"),
    )


@degree_rule("neg", "positive", "deg2rad", "rad2deg", elementwise=True)
def multiple(call: Call) -> Scaling:
    """A fixed multiple."""
    return call.scaling("self")


_FIXED_POWERS = {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0, "square": 2.0}


@degree_rule(*_FIXED_POWERS, elementwise=True)
def fixed_power(call: Call) -> Scaling:
    """(αᵏx)^p = α^(kp)x^p."""
    return power_of(call.scaling("self"), _FIXED_POWERS[call.name.rstrip("_")])


@degree_rule("pow", elementwise=True)
def power(call: Call) -> Scaling:
    """(αᵏx)^p = α^(kp)x^p for one p; else nothing is known of it."""
    return raised(call, call["self"], call["exponent"])


def raised(call: Call, base: Any, exponent: Any) -> Scaling:
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
    return power_of(bottom, fixed)


def _common_value(call: Call, exponent: Any) -> float | None:
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
    return float(exponent)


@degree_rule("addcmul", elementwise=True)
def add_product(call: Call) -> Scaling:
    """A sum of a term and value·a·b."""
    product = product_of(factor(call, call.get("value", 1)), *call.scalings("tensor1", "tensor2"))
    return plus(call, product, call["self"])


@degree_rule("addcdiv", elementwise=True)
def add_quotient(call: Call) -> Scaling:
    """A sum of a term and value·a/b."""
    product = product_of(factor(call, call.get("value", 1)), call.scaling("tensor1"))
    return plus(call, quotient_of(product, call.scaling("tensor2")), call["self"])


@degree_rule("lerp", elementwise=True)
def interpolate(call: Call) -> Scaling:
    """A sum of a term and weight times a difference."""
    difference = call.sum(call["self"], call["end"])
    return plus(call, product_of(factor(call, call["weight"]), difference), call["self"])


@degree_rule("hypot", elementwise=True)
def hypotenuse(call: Call) -> Scaling:
    """√(a² + b²)."""
    return joined(call, call["self"], call["other"])


@degree_rule("copysign", elementwise=True)
def copy_sign(call: Call) -> Scaling:
    """|self| times the sign of other, which α does not change."""
    sign = call.scaling("other")
    size = factor(call, call["self"])
    if size.zero and sign.depends_on_input:
        return replace(SIGNED_ZERO, reasons=size.reasons)
    return product_of(size, sign.in_steps() if sign.depends_on_input else CONSTANT)


@degree_rule("sign", "sgn", "angle", elementwise=True)
def sign(call: Call) -> Scaling:
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
def direction(call: Call) -> Scaling:
    """The angle of a pair of numbers, which α keeps if it multiplies both alike."""
    reason = Reason("takes the angle between what does not scale alike", "Bring both to one degree")
    both = joined(call, call["self"], call["other"], reason=reason)
    return without_size(both) if both.signed or not both.zero else replace(CONSTANT, reasons=both.reasons)


@degree_rule("polar", elementwise=True)
def polar(call: Call) -> Scaling:
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
def times_function(call: Call) -> Scaling:
    """self·f(other)."""
    f = "a power" if call.name.startswith("ldexp") else "a logarithm"
    function = nonlinear_of(factor(call, call["other"]), Reason(f"multiplies by {f} of what scales", "Leave it out"))
    return product_of(factor(call, call["self"]), function)


_Each = Callable[[Call, Any, Any], Scaling]

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
def for_each(call: Call) -> Scaling | list[Scaling]:
    """The same for each tensor of a list, with a tensor of another list, or one number or tensor for all."""
    each = _FOREACH[call.name.removeprefix("_foreach_").rstrip("_")]
    names = ("other", "scalars", "scalar", "exponent")
    other = next((call[name] for name in names if call.get(name) is not None), None)
    n = max(len(side) for side in (call["self"], other) if isinstance(side, (list, tuple)))
    left, right = (side if isinstance(side, (list, tuple)) else [side] * n for side in (call["self"], other))
    scalings = [each(call, a, b) for a, b in zip(left, right, strict=True)]
    return scalings if call.n_results == 0 else sum_of(*scalings)


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and abs(value) == float("inf")
