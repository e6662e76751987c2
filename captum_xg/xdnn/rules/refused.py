"""Layers that no conversion brings to a fixed degree, each refused as a whole."""

from __future__ import annotations

from torch import nn

from captum_xg.xdnn.registry import ModuleContext, NotConvertible, register_conversion


@register_conversion(
    *(nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer),
    stage="normalisation and gates",
)
def attention(module: nn.Module, context: ModuleContext) -> NotConvertible:
    """Attention weighs values by a softmax over products of queries and keys."""
    return NotConvertible(
        "takes a softmax over products of its input, which is sharper for larger α",
        "Use HomogeneousExtension(model), or another architecture",
    )


@register_conversion(nn.RNNBase, nn.RNNCellBase, stage="normalisation and gates")
def recurrent(module: nn.Module, context: ModuleContext) -> NotConvertible:
    """Recurrent layers saturate in every step."""
    return NotConvertible(
        "has gates or activations that saturate, or biases, in every step",
        "Use nn.RNN with nonlinearity='relu' and bias=False, or HomogeneousExtension(model)",
    )
