"""Backward passes that run inside of F (``create_graph=True``): each is linear in the gradient that comes in.

Most backward passes are made of ordinary operations. These are the operations that stand for a whole one.
"""

from __future__ import annotations

from captum_xg.homogeneity.degree import (
    CONSTANT,
    Reason,
    Scaling,
    nonlinear_of,
    product_of,
    selection_of,
    sum_of,
)
from captum_xg.homogeneity.rules.common import compared, first_of, steps
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule

_CURVED = Reason("has a derivative that changes with α", "Use a function that is piecewise linear")


@degree_rule("threshold_backward", elementwise=True)
def threshold_backward(call: OpCall) -> Scaling:
    """The gradient where what came in exceeds a threshold."""
    return product_of(call.scaling("grad_output"), compared(call, call["self"], call["threshold"]))


@degree_rule("hardtanh_backward", elementwise=True)
def hardtanh_backward(call: OpCall) -> Scaling:
    """The gradient where what came in lies between two limits."""
    inside = [compared(call, call["self"], call[limit]) for limit in ("min_val", "max_val")]
    return product_of(call.scaling("grad_output"), *inside)


@degree_rule("leaky_relu_backward", elementwise=True)
def leaky_relu_backward(call: OpCall) -> Scaling:
    """The gradient times a slope that the sign of what came in decides."""
    return product_of(call.scaling("grad_output"), steps(call.scaling("self")))


@degree_rule("sigmoid_backward", "tanh_backward", elementwise=True)
def saturating_backward(call: OpCall) -> Scaling:
    """The gradient times a polynomial of the result."""
    return product_of(call.scaling("grad_output"), nonlinear_of(call.scaling("output"), _CURVED))


@degree_rule("gelu_backward", "silu_backward", "softplus_backward", "mish_backward", elementwise=True)
def curved_backward(call: OpCall) -> Scaling:
    """The gradient times a curved function of what came in."""
    return product_of(call.scaling("grad_output"), nonlinear_of(call.scaling("self"), _CURVED))


@degree_rule("_softmax_backward_data")
def softmax_backward(call: OpCall) -> Scaling:
    """The gradient minus its mean under p, the result, times p."""
    gradient, output = call.scalings("grad_output", "output")
    return sum_of(product_of(gradient, output), product_of(gradient, output, output))


@degree_rule("_log_softmax_backward_data")
def log_softmax_backward(call: OpCall) -> Scaling:
    """The gradient minus its sum times the exponential of the result."""
    gradient = call.scaling("grad_output")
    return sum_of(gradient, product_of(gradient, nonlinear_of(call.scaling("output"), _CURVED)))


@degree_rule(
    *("avg_pool2d_backward", "avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward"),
    *("upsample_nearest1d_backward", "upsample_nearest2d_backward", "upsample_bilinear2d_backward"),
    *("upsample_linear1d_backward", "reflection_pad2d_backward", "replication_pad2d_backward"),
)
def spread_backward(call: OpCall) -> Scaling:
    """Sums of the gradient with weights that only sizes decide."""
    return first_of(call)


@degree_rule("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward", "adaptive_max_pool2d_backward")
def max_pool_backward(call: OpCall) -> Scaling:
    """The gradient, put where the largest numbers were."""
    return selection_of(call.scaling("indices"), call.scaling("grad_output"))


@degree_rule("embedding_dense_backward")
def embedding_backward(call: OpCall) -> Scaling:
    """Sums of the gradient by row."""
    if call["scale_grad_by_freq"] or call["padding_idx"] >= 0:
        factor = nonlinear_of(call.scaling("indices"), _CURVED)
        return product_of(call.scaling("grad_output"), CONSTANT, factor)
    return selection_of(call.scaling("indices"), call.scaling("grad_output"))
