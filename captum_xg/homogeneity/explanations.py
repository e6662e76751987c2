"""What a layer of some kind does to homogeneity, in words, and the remedy."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.padding import _ConstantPadNd

_SATURATING = (nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish)
_SMOOTH = (
    nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.CELU, nn.Softplus, nn.Sigmoid, nn.Tanh, nn.LogSigmoid, nn.Softsign,
    nn.Tanhshrink, nn.GLU,
)  # fmt: skip
_SHRINKING = (nn.Hardshrink, nn.Softshrink, nn.Threshold)
_SOFTMAX = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d)
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm, _InstanceNorm)
_GATED = (nn.RNNBase, nn.RNNCellBase)
_ATTENTION = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def explain_module(module: nn.Module) -> tuple[str, str]:
    """Return (reason, remedy) for a module that a probe has found not to be homogeneous."""
    if isinstance(module, _BatchNorm):
        return _batch_norm(module)
    if isinstance(module, _SATURATING):
        return "saturates at a fixed value, so a large enough αx is cut off", "Replace it by nn.ReLU"
    if isinstance(module, _SMOOTH):
        return "is curved, so its slope changes with α", "Replace it by nn.ReLU, nn.LeakyReLU or nn.PReLU"
    if isinstance(module, _SHRINKING):
        return "compares with a fixed threshold, which αx crosses", "Replace it by nn.ReLU"
    if isinstance(module, _SOFTMAX):
        return "normalises exponentials", "Explain the logits before it instead"
    if isinstance(module, _NORMS):
        return (
            f"divides by a statistic of its input plus eps{_shift(module, ' and adds a shift')}, so it does not scale with α",
            "Leave it out, or use a network without normalisation",
        )
    if isinstance(module, _ATTENTION):
        return "takes a softmax over products of its input", "Use another architecture"
    if isinstance(module, _GATED):
        return "has gates or activations that saturate", "Use nn.RNN with nonlinearity='relu' and bias=False, or a CNN"
    if isinstance(module, _ConstantPadNd):
        return f"pads with the constant {module.value:g}", "Pad with zeros"
    bias = getattr(module, "bias", None)
    if isinstance(bias, Tensor) and bool((bias != 0).any()):
        return (
            f"adds a bias of up to {float(bias.detach().abs().max()):.2g}",
            "Train it with bias=False, or set the bias to zero and fine-tune",
        )
    if next(module.children(), None) is not None:
        return (
            "the operations of its own forward are not homogeneous, though each layer inside it is",
            "Look for constants added, fixed thresholds, softmax, sigmoid, normalisation with eps, or a sum of "
            "terms of different degree",
        )
    return "its output does not scale with its input", "Replace it by a homogeneous operation"


def _batch_norm(module: _BatchNorm) -> tuple[str, str]:
    if module.running_mean is None or module.running_var is None:
        return "normalises by the statistics of the batch", "Use running statistics, or leave it out"
    slope = torch.rsqrt(module.running_var + module.eps)
    if module.weight is not None:
        slope = slope * module.weight.detach()
    shift = -module.running_mean * slope
    if module.bias is not None:
        shift = shift + module.bias.detach()
    return (
        f"adds a shift of up to {float(shift.abs().max()):.2g} (bias − running mean · slope)",
        "Train without it, or set its bias and running mean to zero and fine-tune",
    )


def _shift(module: nn.Module, text: str) -> str:
    bias = getattr(module, "bias", None)
    return text if isinstance(bias, Tensor) and bool((bias != 0).any()) else ""
