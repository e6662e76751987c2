"""Batch norms that could not be folded: their slope stays, their shift goes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import FrozenBatchNorm2d

from captum_xg.xdnn.folding import folds, slope_and_shift
from captum_xg.xdnn.functional_calls import FunctionCall
from captum_xg.xdnn.layers import ChannelScale
from captum_xg.xdnn.registry import Conversion, ModuleContext, NotConvertible, register_conversion

_OF_THE_BATCH = NotConvertible(
    "normalises by the statistics of the batch, so that examples depend on each other",
    "Use running statistics (track_running_stats=True)",
)


@register_conversion(_BatchNorm, FrozenBatchNorm2d, stage="constants")
def batch_norm(module: _BatchNorm | FrozenBatchNorm2d, context: ModuleContext) -> Conversion | NotConvertible:
    """A batch norm in evaluation mode becomes a number for each channel."""
    if module.running_mean is None or module.running_var is None:
        return _OF_THE_BATCH
    if not folds(module):
        return NotConvertible("is a batch norm with a forward of its own", "Register a conversion for its class")
    slope, shift = slope_and_shift(module)
    scale = ChannelScale(slope.to(module.running_var.dtype))
    scale.weight.requires_grad_(module.weight is not None and module.weight.requires_grad)
    size = float(shift.abs().max())
    why = f"drops a shift of up to {size:.2g}" if size else "drops a shift that is zero so far"
    return Conversion(scale, f"{why}; could not be folded", exact=size == 0)


@register_conversion(F.batch_norm, torch.batch_norm, stage="constants")
def batch_norm_function(call: FunctionCall, context: ModuleContext) -> Conversion | NotConvertible:
    """The same for calls with running statistics; the arguments of the two functions have another order."""
    position = 1 if call.function is F.batch_norm else 3
    known = {position, "running_mean"} & call.constants and call.literal(position, "running_mean", 0) is not None
    if call.literal(5, "training", False) or not known:
        return _OF_THE_BATCH
    without = _without_shift if call.function is F.batch_norm else _without_shift_low_level
    return Conversion(FunctionCall(without, call.constants), "drops its shift", after="batch_norm, slope only")


def _without_shift(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    return F.batch_norm(x, torch.zeros_like(running_mean), running_var, weight, None, False, 0.0, eps)


def _without_shift_low_level(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, *options: float
) -> Tensor:
    return _without_shift(x, mean, variance, weight, eps=options[2])  # training, momentum, eps, cudnn_enabled
