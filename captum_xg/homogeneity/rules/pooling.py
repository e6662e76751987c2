"""Pooling: means or maxima over windows that only shapes and numbers decide."""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg.homogeneity.degree import Reason, Scaling, nonlinear_of, selection_of
from captum_xg.homogeneity.rules.common import positions_of
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule

_WINDOWS = Reason("chooses its windows by values that change with α", "Choose them independently of the input")
COINCIDE = Reason(
    "puts elements back at places that depend on the input; where two coincide, its gradient counts both",
    "Use zeros.scatter_add(-1, indices, values), whose gradient is right",
    kind="unknown",
)


@degree_rule(
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "mkldnn_adaptive_avg_pool2d"),
)
def average(call: OpCall) -> Scaling:
    """Linear, whatever the divisor; padded with zeros."""
    return call.scaling("self")


@degree_rule(
    *("max_pool1d", "max_pool2d", "max_pool3d", "mkldnn_max_pool2d", "mkldnn_max_pool3d", "cudnn_max_pool2d"),
)
def maximum(call: OpCall) -> Scaling:
    """α > 0 keeps the order, and −inf, with which it is padded."""
    return call.scaling("self")


@degree_rule(
    *("max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
)
def maximum_and_place(call: OpCall) -> Sequence[Scaling]:
    """α > 0 keeps the order, so the largest elements scale and their places stay."""
    scaling = call.scaling("self")
    return scaling, positions_of(scaling)


@degree_rule("fractional_max_pool2d", "fractional_max_pool3d")
def fractional_maximum(call: OpCall) -> Sequence[Scaling]:
    """Maxima over windows that are given by numbers between 0 and 1."""
    where = nonlinear_of(call.scaling("random_samples"), _WINDOWS)
    result = selection_of(where, call.scaling("self"))
    return result, positions_of(result)


@degree_rule("max_unpool2d", "max_unpool3d")
def unpool(call: OpCall) -> Scaling:
    """Elements at indices among zeros."""
    values, indices = call.scalings("self", "indices")
    result = selection_of(indices, values)
    if values.stepwise:
        return result
    if indices.depends_on_input:
        return result.because(COINCIDE)
    call.depend_on(call["indices"])
    plane = call["indices"].flatten(-2 if "2d" in call.name else -3).sort(dim=-1).values
    if bool((plane.diff(dim=-1) == 0).any()):
        return result.because(
            Reason("puts several elements at one place, which its gradient does not know", COINCIDE.remedy, "gradient")
        )
    return result
