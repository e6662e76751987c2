"""Linear: each argument enters linearly while the others are held fixed, so degrees add; a bias is one term more."""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg.homogeneity.degree import (
    ZERO,
    Reason,
    Scaling,
    nonlinear_of,
    product_of,
    selection_of,
)
from captum_xg.homogeneity.rules.common import product_in, with_bias
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule


@degree_rule("mm", "bmm", "mv", "dot", "vdot", "ger", "outer", "linalg_cross", "cross", "_int_mm", "_trilinear")
def multilinear(call: OpCall) -> Scaling:
    """Linear in every tensor."""
    return product_in(call)


@degree_rule("addmm", "addbmm", "baddbmm", "addmv", "addr", "_sparse_addmm")
def add_matrix_product(call: OpCall) -> Scaling:
    """β·self + α·(bilinear in the two others)."""
    return _sum_with_product(call)


@degree_rule("_addmm_activation")
def add_matrix_product_and_activate(call: OpCall) -> Scaling:
    """ReLU or GELU of β·self + α·(bilinear)."""
    result = _sum_with_product(call)
    if not call["use_gelu"]:
        return result
    reason = Reason("is curved (GELU), so its slope changes with α", "Replace it by a ReLU")
    return nonlinear_of(result, reason, otherwise=1.0)


def _sum_with_product(call: OpCall) -> Scaling:
    product = product_in(call, "self") if call.get("alpha", 1) != 0 else ZERO
    return with_bias(call, product, call["self"] if call.get("beta", 1) != 0 else None)


@degree_rule("linear", "mkldnn_linear")
def linear(call: OpCall) -> Scaling:
    """Bilinear in input and weight, plus the bias."""
    return with_bias(call, product_in(call, "bias"), call["bias"])


@degree_rule(
    "convolution",
    "_convolution",
    "convolution_overrideable",
    "mkldnn_convolution",
    "cudnn_convolution",
    "cudnn_convolution_transpose",
    "cudnn_convolution_relu",
    "miopen_convolution",
    "miopen_convolution_transpose",
    "miopen_convolution_relu",
    "miopen_depthwise_convolution",
    "_mps_convolution",
    "_nnpack_spatial_convolution",
    "thnn_conv2d",
    "_slow_conv2d_forward",
    "slow_conv3d",
    "slow_conv3d_forward",
    "slow_conv_dilated2d",
    "slow_conv_dilated3d",
    "slow_conv_transpose2d",
    "slow_conv_transpose3d",
    "_conv_depthwise2d",
    "conv_depthwise3d",
    "conv_tbc",
)
def convolution(call: OpCall) -> Scaling:
    """Bilinear in input and weight, padded with zeros, plus the bias; a ReLU after it keeps the degree."""
    return with_bias(call, product_in(call, "bias"), call.get("bias"))


@degree_rule("cudnn_convolution_add_relu", "miopen_convolution_add_relu")
def convolution_add_relu(call: OpCall) -> Scaling:
    """ReLU of a convolution plus α·z."""
    product = with_bias(call, product_of(*call.scalings("self", "weight")), call["bias"])
    return product if call["alpha"] == 0 else with_bias(call, product, call["z"])


@degree_rule("convolution_backward")
def convolution_backward(call: OpCall) -> Sequence[Scaling]:
    """Bilinear: each factor's gradient in the other factor and the gradient that comes in."""
    gradient, image, weight = call.scalings("grad_output", "input", "weight")
    return product_of(gradient, weight), product_of(gradient, image), gradient


@degree_rule("_sparse_mm")
def sparse_product(call: OpCall) -> Scaling:
    """Bilinear; a mean divides by the number of entries, a maximum keeps the degree of the products."""
    return product_in(call)


@degree_rule("_fft_r2c", "_fft_c2c", "_fft_c2r")
def fourier_transform(call: OpCall) -> Scaling:
    """Linear: only sizes and the kind of normalisation decide which map between signal and spectrum it is."""
    return call.scaling("self")


@degree_rule("embedding")
def embedding(call: OpCall) -> Scaling:
    """Rows of the weight, chosen by the indices."""
    return selection_of(call.scaling("indices"), _trained_by_row(call))


@degree_rule("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(call: OpCall) -> Sequence[Scaling]:
    """Sums, means or maxima of rows of the weight, each times its own factor."""
    weight, factor = _trained_by_row(call, padding_is_left_out=True), call["per_sample_weights"]
    rows = weight if factor is None else product_of(weight, call.scaling_of(factor))
    where = product_of(*(nonlinear_of(s, _MOVES) for s in call.scalings("indices", "offsets")))
    return (
        selection_of(where, rows),
        where.in_steps(),
        where.in_steps(),
        product_of(where, nonlinear_of(weight, _MOVES)).in_steps() if call["mode"] != _MAXIMUM else weight.in_steps(),
    )


_MAXIMUM = 2  # of embedding_bag's modes
_MOVES = Reason("chooses by a value that changes with α", "Choose by comparisons")


def _trained_by_row(call: OpCall, *, padding_is_left_out: bool = False) -> Scaling:
    weight = call.scaling("weight")
    padded = call["padding_idx"] >= 0 and not padding_is_left_out
    if not (padded or call["scale_grad_by_freq"]) or not weight.depends_on_input:
        return weight
    return weight.because(
        Reason(
            "has a gradient that is made for training: left out at padding_idx, or divided by how often a row occurs",
            "Index the weight instead: weight[indices]",
            kind="gradient",
        )
    )
