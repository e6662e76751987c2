"""Softmax and attention: exponentials over their sum, which α changes unless their arguments are scale-free.

softmax(q·kᵀ/√d + mask)·v is linear in v; q and k must not change with α together.
"""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg.homogeneity.degree import CONSTANT, Reason, Scaling, nonlinear_of, product_of
from captum_xg.homogeneity.rules.common import given, nonlinear_together
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule
from captum_xg.homogeneity.rules.schema import RANDOM

SOFTMAX_REMEDY = "Explain the logits instead"
_SOFTMAX = Reason("normalises exponentials (softmax), which are sharper for larger α", SOFTMAX_REMEDY)

_ATTENTION = Reason(
    "takes a softmax over products of queries and keys, which is sharper for larger α",
    "Use HomogeneousExtension(model), or another architecture",
)


@degree_rule("_softmax", "_safe_softmax", "softmax", "_sparse_softmax")
def softmax(call: OpCall) -> Scaling:
    """Exponentials over their sum."""
    return nonlinear_of(call.scaling("self"), _SOFTMAX)


@degree_rule("_masked_softmax")
def masked_softmax(call: OpCall) -> Scaling:
    """Exponentials over their sum, where a mask does not leave them out."""
    return nonlinear_together(*call.scalings("self", "mask"), reason=_SOFTMAX)


@degree_rule("_log_softmax", "log_softmax", "_sparse_log_softmax")
def log_softmax(call: OpCall) -> Scaling:
    """What x lacks to its smooth maximum."""
    reason = Reason("subtracts a smooth maximum (logsumexp), which is sharper for larger α", SOFTMAX_REMEDY)
    return nonlinear_of(call.scaling("self"), reason, otherwise=1.0)


@degree_rule(
    *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention"),
    *("_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention"),
    *("_scaled_dot_product_attention_math", "_scaled_dot_product_attention_math_for_mps"),
    *("_scaled_dot_product_fused_attention_overrideable", "_flash_attention_forward"),
    *("_efficient_attention_forward", "_cudnn_attention_forward"),
)
def attention(call: OpCall) -> Sequence[Scaling]:
    """softmax(q·kᵀ + mask)·v; with the logarithms of the sums, and what is kept for the backward pass."""
    mask = next((call[name] for name in ("attn_mask", "attn_bias", "bias") if call.get(name) is not None), None)
    scores = product_of(*call.scalings("query", "key"))
    masked = nonlinear_together(scores, call.scaling_of(mask), reason=_ATTENTION)
    output = product_of(masked, call.scaling("value"))
    if call.get("dropout_p", 0.0) > 0:
        output = output.because(RANDOM)
    normaliser = nonlinear_together(scores, call.scaling_of(mask), reason=_ATTENTION, otherwise=1.0)
    second = masked if "math" in call.name else normaliser
    return [output, second, *[CONSTANT] * call.n_results][: call.n_results]


@degree_rule("_fused_sdp_choice")
def choice_of_kernel(call: OpCall) -> Scaling:
    """Looks at shapes, dtypes and flags only."""
    return CONSTANT


@degree_rule("_native_multi_head_attention", "_transformer_encoder_layer_fwd", "_triton_multi_head_attention")
def whole_layer(call: OpCall) -> Scaling:
    """Projections and attention in one, with biases and normalisation."""
    return nonlinear_together(*given(call), reason=_ATTENTION, otherwise=1.0)
