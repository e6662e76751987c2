"""Explanations of layers that are not homogeneous, by class, and their remedies."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.padding import _ConstantPadNd

from captum_xg._core.batch_norm import slope_and_shift
from captum_xg._core.finding import or_convert

_SIGMOIDAL = (nn.Sigmoid, nn.Tanh, nn.LogSigmoid, nn.Softsign, nn.Tanhshrink, nn.GLU)

_RECTIFIER = or_convert("put nn.ReLU, nn.LeakyReLU or nn.PReLU there")

# The first row with one of a module's classes says what it does, and the remedy.
_BY_CLASS: tuple[tuple[tuple[type[nn.Module], ...], str, str], ...] = (
    (
        (nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
        "saturates at a fixed value, so a large enough αx is cut off",
        _RECTIFIER,
    ),
    (
        (nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.CELU, nn.Softplus, *_SIGMOIDAL),
        "is curved, so its slope changes with α",
        _RECTIFIER,
    ),
    (
        (nn.Hardshrink, nn.Softshrink, nn.Threshold),
        "compares with a fixed threshold, which αx crosses",
        _RECTIFIER,
    ),
    (
        (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d),
        "normalises exponentials",
        "Explain the logits before it instead",
    ),
    (
        (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm, _InstanceNorm),
        "divides by a statistic of its input plus a constant eps, and so does not scale with α",
        or_convert("leave it out"),
    ),
    (
        (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer),
        "takes a softmax over products of its input",
        "Use HomogeneousExtension(model), or another architecture",
    ),
    (
        (nn.RNNBase, nn.RNNCellBase),
        "has gates or activations that saturate, or biases",
        "Use nn.RNN with nonlinearity='relu' and bias=False, or a convolutional network",
    ),
)


_COMPOSITE = (
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.RMSNorm,
    nn.LocalResponseNorm,
    nn.Softsign,
    nn.Tanhshrink,
)


def explain_composite(module: nn.Module) -> tuple[str, str] | None:
    """Return (reason, remedy) for a layer of torch.nn that runs as several operations, which its user never wrote."""
    if not isinstance(module, _COMPOSITE) or not type(module).__module__.startswith("torch.nn."):
        return None
    return explain_module(module, layers_ran=False)


def explain_module(module: nn.Module, *, layers_ran: bool) -> tuple[str, str]:
    """Return (reason, remedy) for a module that a probe has found not to be homogeneous.

    Args:
        module: The module.
        layers_ran: Whether modules inside it were called, each of which is then known to be homogeneous.
    """
    for classes, reason, remedy in _BY_CLASS:
        if isinstance(module, classes):
            return reason, remedy
    if isinstance(module, _BatchNorm):
        return _batch_norm(module)
    if isinstance(module, _ConstantPadNd):
        return f"pads with the constant {module.value:g}", "Pad with zeros"
    bias = getattr(module, "bias", None)
    if isinstance(bias, Tensor) and bool((bias != 0).any()):
        return (
            f"adds a bias of up to {float(bias.detach().abs().max()):.2g}",
            or_convert("train it with bias=False"),
        )
    return _own_forward(module, layers_ran)


def _own_forward(module: nn.Module, layers_ran: bool) -> tuple[str, str]:
    if next(module.children(), None) is None:
        return "its output does not scale with its input", "Replace it by a homogeneous operation"
    if not layers_ran:
        return (
            "its output does not scale with its input; the layers inside it were not called as modules (traced, or "
            "used through their weights), so they cannot be told apart",
            "Try the model as it was before tracing, with check_homogeneity",
        )
    return (
        "the operations of its own forward are not homogeneous, though each layer inside it is",
        "Look for constants added, fixed thresholds, softmax, sigmoid, normalisation with eps, or a sum of "
        "terms of different degree",
    )


def _batch_norm(module: _BatchNorm) -> tuple[str, str]:
    if module.running_mean is None or module.running_var is None:
        return "normalises by the statistics of the batch", "Use running statistics, or leave it out"
    _, shift = slope_and_shift(module.running_mean, module.running_var, module.weight, module.bias, module.eps)
    return (
        f"adds a shift of up to {float(shift.abs().max()):.2g} (bias − running mean · slope)",
        or_convert("train without it"),
    )
