"""Comparisons and rounding: results that change in steps, and choices made by them.

What is compared decides: both sides multiplied by one αᵏ compare as before. Gradients are zero wherever there are any.
"""

from __future__ import annotations

from dataclasses import replace

from captum_xg.homogeneity.degree import (
    CONSTANT,
    Reason,
    Scaling,
    nonlinear_of,
    selection_of,
    sum_of,
)
from captum_xg.homogeneity.rules.common import compared, nonlinear_together, steps, whole_steps
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule


@degree_rule("eq", "ne", "lt", "le", "gt", "ge", elementwise=True)
def compare(call: OpCall) -> Scaling:
    """αᵏa < αᵏb if a < b."""
    return compared(call, call["self"], call["other"])


@degree_rule(
    *("isnan", "isinf", "isposinf", "isneginf", "isfinite", "signbit"),
    elementwise=True,
)
def property_of_number(call: OpCall) -> Scaling:
    """Whether a number is zero, negative, infinite or none does not change with α."""
    return steps(call.scaling("self"))


@degree_rule("logical_not", "logical_and", "logical_or", "logical_xor", elementwise=True)
def logical(call: OpCall) -> Scaling:
    """Asks of each side whether it is zero."""
    sides = [name for name in ("self", "other") if name in call.arguments]
    result = steps(sum_of(*map(steps, call.scalings(*sides))))
    overwritten = call.name.endswith("_") and (call["self"].dtype.is_floating_point or call["self"].dtype.is_complex)
    if not overwritten or call.scaling("self").stepwise:
        return result
    return replace(result, stepwise=False).because(_PASSES_GRADIENT)


_PASSES_GRADIENT = Reason(
    "overwrites numbers by truth values, but lets the gradient pass as if they had stayed",
    "Use the form that returns a new tensor",
    kind="gradient",
)


@degree_rule(
    *("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift"),
    *("__and__", "__or__", "__xor__", "__lshift__", "__rshift__", "__iand__", "__ior__", "__ixor__"),
    *("__ilshift__", "__irshift__", "gcd", "lcm"),
    elementwise=True,
)
def bits(call: OpCall) -> Scaling:
    """Functions of whole numbers."""
    reason = Reason("works on the bits or divisors of what scales", "Leave it out")
    return nonlinear_together(*call.scalings("self", "other"), reason=reason).in_steps()


@degree_rule("bitwise_not", elementwise=True)
def inverted_bits(call: OpCall) -> Scaling:
    """A function of one whole number."""
    return nonlinear_of(call.scaling("self"), Reason("works on the bits of what scales", "Leave it out")).in_steps()


@degree_rule("floor", "ceil", "round", "trunc", "fix", elementwise=True)
def rounded(call: OpCall) -> Scaling:
    """Rounds at fixed numbers."""
    return whole_steps(call.scaling("self"))


@degree_rule("frac", elementwise=True)
def fraction(call: OpCall) -> Scaling:
    """What lies behind the point: not in steps, but cut at whole numbers."""
    return nonlinear_of(call.scaling("self"), Reason("cuts off at whole numbers, which αx passes", "Leave it out"))


@degree_rule("heaviside", elementwise=True)
def heaviside(call: OpCall) -> Scaling:
    """0 or 1 by the sign of self, and values where that is zero."""
    reason = Reason("puts a value that scales beside 0 and 1", "Pass a constant")
    return selection_of(steps(call.scaling("self")), CONSTANT, call.scaling("values"), reason=reason)


@degree_rule("where", elementwise=True, moves=("self", "other"))
def where(call: OpCall) -> Scaling:
    """A choice between two tensors by a condition."""
    return selection_of(call.scaling("condition"), *call.neutralised(call["self"], call["other"]))


@degree_rule("isin")
def contained(call: OpCall) -> Scaling:
    """Compares each with each."""
    left, right = (("elements", "element"), ("test_elements", "test_element"))
    return compared(call, *(next(call[name] for name in names if name in call.arguments) for names in (left, right)))


@degree_rule("searchsorted")
def search(call: OpCall) -> Scaling:
    """Compares numbers with sorted ones; in which order these are read must not change."""
    order = nonlinear_of(call.scaling("sorter"), Reason("sorts by a value that changes with α"))
    return steps(selection_of(order, compared(call, call["self"], call["sorted_sequence"]), CONSTANT))


@degree_rule("bucketize")
def buckets(call: OpCall) -> Scaling:
    """Compares numbers with boundaries."""
    return compared(call, call["self"], call["boundaries"])


@degree_rule("any", "all", "argmax", "argmin", "_is_all_true", "_is_any_true")
def question(call: OpCall) -> Scaling:
    """Whether some or all are not zero, and which is the largest, does not change with α."""
    return steps(call.scaling("self"))
