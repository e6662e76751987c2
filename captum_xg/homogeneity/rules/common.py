"""Building blocks of rules: what several families of operations, and rules of one's own, are put together from.

They answer three questions that come up again and again. Does a constant matter that meets what scales
(:func:`with_bias`, :func:`plus`, :func:`joined`)? How does a function of several arguments scale that has no degree
(:func:`nonlinear_together`)? What is left of a scaling after steps, directions and conversions?

Example: ``with_bias(call, product_of(x, w), b)`` scales as the product does if b is zero; if not, it says
"adds a bias of up to 0.3".

What must never happen: infinity is taken for zero where it is a factor. In sums and comparisons no α changes it, so
that it counts as neutral there; but 0·∞ is no number. :func:`factor` and :func:`joined` see to that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from captum_xg._core.operations import schema_of
from captum_xg.homogeneity.degree import (
    CONSTANT,
    Reason,
    Scaling,
    comparison_of,
    nonlinear_of,
    product_of,
    sum_of,
)
from captum_xg.homogeneity.rules.op_call import WITHOUT_BIAS, WITHOUT_IT, OpCall, largest

_TRUNCATES = Reason(
    "truncates to integers, which αx crosses at other places", "Keep floating-point numbers as they are"
)


def factor(call: OpCall, value: object) -> Scaling:
    """Return how a factor scales: infinity leaves sums as they are, but a product with it is not zero."""
    scaling = call.scaling_of(value)
    return CONSTANT if scaling.zero and _infinite(value) else scaling


def joined(
    call: OpCall, *values: object, reason: Reason | None = None, combine: Callable[..., Scaling] = sum_of
) -> Scaling:
    """Return what :meth:`OpCall.sum` gives, except that of zeros and infinities alone the result is not zero."""
    result = call.sum(*values, reason=reason, combine=combine)
    return replace(CONSTANT, reasons=result.reasons) if result.zero and any(map(_infinite, values)) else result


def with_bias(call: OpCall, product: Scaling, bias: object) -> Scaling:
    """Return the scaling of product + bias, where a bias of zeros is none.

    Args:
        call: The operation.
        product: How that to which the bias is added scales.
        bias: The bias among the arguments, None if there is none.
    """
    return _shifted(call, product, bias, call.scaling_of(bias), "adds a bias", WITHOUT_BIAS)


def plus(call: OpCall, product: Scaling, addend: object) -> Scaling:
    """Return the scaling of product + addend."""
    return _shifted(call, product, addend, factor(call, addend), "adds a constant", WITHOUT_IT)


def _shifted(call: OpCall, product: Scaling, addend: object, scaling: Scaling, what: str, remedy: str) -> Scaling:
    if not (scaling.constant and scaling.proven) or product.degree is None or product.scale_free:
        return sum_of(product, scaling)
    # Only here does the value of the constant matter, and only here does the proof come to depend on it.
    if call.is_neutral(addend):
        return product
    return sum_of(product, scaling, reason=Reason(f"{what} of up to {largest(addend):.2g}", remedy))


def product_in(call: OpCall, *others: str) -> Scaling:
    """Return how the product of all tensors scales that are neither written to, nor named among the others."""
    # Where ``out=`` puts the result is no factor.
    outs = schema_of(call.func).outs
    return call.product(
        *(
            value
            for name, value in call.arguments.items()
            if isinstance(value, Tensor) and name not in outs and name not in others
        )
    )


def nonlinear_together(*arguments: Scaling, reason: Reason, otherwise: float | None = 0.0) -> Scaling:
    """Return the scaling of a function of several arguments about which nothing is assumed; see ``nonlinear_of``."""
    told = [argument for argument in arguments if argument.degree is not None or argument.zero]
    varying = [argument.degree for argument in told if argument.degree is not None and not argument.scale_free]
    if not varying:
        # α leaves all of them as they are, and so their function. Their sum says what it depends on.
        return nonlinear_of(sum_of(*arguments), reason)
    reasons = frozenset({reason}).union(*(argument.reasons for argument in arguments))
    degree = None if otherwise is None or len(told) < len(arguments) else max(varying) * otherwise
    guessed = otherwise != 1 or any(argument.guessed for argument in arguments)
    stepwise = all(argument.stepwise for argument in arguments)
    return Scaling(degree, stepwise=stepwise, reasons=reasons, guessed=guessed)


def whole_steps(scaling: Scaling) -> Scaling:
    """Return the scaling of a number rounded to a whole one."""
    reason = Reason("rounds to whole numbers, which αx passes one after the other", "Leave the rounding out")
    # Without the rounding the degree stays. A step's degree of 0 would blame what adds the result to its like.
    rounded = nonlinear_of(scaling, reason, otherwise=1.0)
    return rounded.in_steps() if scaling.scale_free else rounded


def steps(scaling: Scaling) -> Scaling:
    """Return the scaling of a question about numbers that α leaves as it is: zero? NaN? which is largest?"""
    # The answer about a tensor of zeros is a constant, and may well be True: not zero, as its ``in_steps`` is.
    return scaling.in_steps() if scaling.depends_on_input else replace(CONSTANT, reasons=scaling.reasons)


def compared(call: OpCall, left: object, right: object) -> Scaling:
    """Return the scaling of a comparison of arguments."""
    parts = call.scaling_of(left), call.scaling_of(right)
    constant = [value for value, part in zip((left, right), parts, strict=True) if part.constant]
    reason = None
    if len(constant) == 1:
        reason = Reason(
            f"compares with a fixed value of up to {largest(constant[0]):.2g}, which αx crosses",
            "Compare with zero, or with what scales with the input alike",
        )
    return steps(call.sum(left, right, reason=reason, combine=comparison_of))


def direction_of(scaling: Scaling) -> Scaling:
    """Return the scaling of what a factor αᵏ leaves as it is: directions, signs, orthogonal factors."""
    if not scaling.depends_on_input:
        return replace(CONSTANT, reasons=scaling.reasons)  # also of zeros: their directions are not zero
    return replace(scaling, degree=0.0, zero=False, signed=False, stepwise=False)


def positions_of(scaling: Scaling) -> Scaling:
    """Return the scaling of numbers of places and ranks, which a factor αᵏ > 0 on all values leaves as they are."""
    return direction_of(scaling).in_steps()


def converted(scaling: Scaling, dtype: torch.dtype | None) -> Scaling:
    """Return how numbers scale after conversion to a dtype, where every floating-point dtype is as good as exact."""
    if dtype is None or dtype.is_floating_point or dtype.is_complex:
        return scaling
    if dtype == torch.bool:
        return scaling.in_steps()  # not zero, which no α changes
    if scaling.scale_free:
        return scaling.in_steps()
    # Stepwise, as integers have no gradient at all: that one is missing is not to be said as well.
    return replace(nonlinear_of(scaling, _TRUNCATES, otherwise=1.0), stepwise=True)


def cast(call: OpCall, scaling: Scaling) -> Scaling:
    """Return the scaling of what is converted to the dtype that the operation was asked for."""
    dtype: torch.dtype | None = call.get("dtype")
    given = call["self"].dtype
    if dtype is None or dtype.is_floating_point or dtype.is_complex:
        return scaling
    if not (given.is_floating_point or given.is_complex):
        return scaling
    return nonlinear_of(scaling, Reason(f"cuts off to {dtype}, in steps that αx passes", "Leave dtype out")).in_steps()


def shaped_by(scaling: Scaling, result: Scaling | None = None) -> Scaling:
    """Return the scaling of a result whose shape depends on values."""
    if not scaling.depends_on_input:
        constant = nonlinear_of(scaling, Reason(""))  # of zeros too: how many there are is not zero
        return constant if result is None else product_of(result, constant)
    reason = Reason(
        "has a shape that depends on values of the input", "Use a mask and torch.where instead", kind="unknown"
    )
    return Scaling(None, reasons=scaling.reasons | {reason})


def given(call: OpCall) -> list[Scaling]:
    """Return how all arguments scale that are read, which leaves out where results are put."""
    schema = schema_of(call.func)
    names = [name for name, _, _ in schema.arguments if name not in schema.outs]
    return [call.scaling(name) for name in names if isinstance(call[name], (Tensor, list, tuple))]


def first_of(call: OpCall) -> Scaling:
    """Return how the first argument scales, which overloads call differently."""
    return call.scaling_of(next(iter(call.arguments.values())))


def _infinite(value: object) -> bool:
    return isinstance(value, float) and abs(value) == float("inf")
