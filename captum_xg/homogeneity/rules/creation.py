"""Creation: new tensors that take at most shape and dtype from others, or are put together from parts."""

from __future__ import annotations

from torch import Tensor

from captum_xg.homogeneity.degree import CONSTANT, ZERO, Reason, Scaling, nonlinear_of, product_of, sum_of
from captum_xg.homogeneity.rules.common import converted
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule

_UNWRITTEN = Reason(
    "reads memory that nothing was written to (torch.empty)", "Create it with torch.zeros", kind="unknown"
)


@degree_rule("zeros", "zeros_like", "new_zeros", "zero", "_efficientzerotensor")
def zeros(call: OpCall) -> Scaling:
    """Identically zero."""
    return ZERO


@degree_rule("ones", "ones_like", "new_ones")
def ones(call: OpCall) -> Scaling:
    """Of a tensor, its shape alone matters."""
    return CONSTANT


@degree_rule("full", "full_like", "new_full", "scalar_tensor")
def full(call: OpCall) -> Scaling:
    """One number everywhere."""
    value = call["s"] if "s" in call.arguments else call["fill_value"]
    return ZERO if value == 0 else CONSTANT


@degree_rule("fill")
def fill(call: OpCall) -> Scaling:
    """One number, or the one number in a tensor, everywhere."""
    value = call["value"]
    scaling = call.scaling("value")
    if scaling.zero:
        return scaling
    if scaling.constant and scaling.proven and call.is_neutral(value):
        if not (bool(value.isinf().any()) if isinstance(value, Tensor) else value != 0):
            return ZERO
        target = call.scaling("self")
        if not target.scale_free and target.degree is not None:
            return Scaling(target.degree, stepwise=True)  # infinity is of every degree: of that beside it
    return converted(call.scaling("value"), call["self"].dtype)


@degree_rule("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided")
def empty(call: OpCall) -> Scaling:
    """Memory that is to be written to."""
    return CONSTANT.because(_UNWRITTEN)


@degree_rule("linspace")
def linspace(call: OpCall) -> Scaling:
    """Start plus a share of end − start."""
    return converted(call.sum(call["start"], call["end"]), call.get("dtype"))


@degree_rule("logspace")
def logspace(call: OpCall) -> Scaling:
    """Powers of a fixed base."""
    reason = Reason("raises a fixed number to powers that change with α", "Use torch.linspace")
    return product_of(*(nonlinear_of(s, reason) for s in call.scalings("start", "end")))


@degree_rule("complex", elementwise=True)
def complex_of(call: OpCall) -> Scaling:
    """Real part plus i times imaginary part."""
    return sum_of(*call.neutralised(call["real"], call["imag"]))
