"""Biases of linear layers, which are dropped."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from captum_xg.xdnn.functional_calls import FunctionCall
from captum_xg.xdnn.layers import WithoutArgument
from captum_xg.xdnn.registry import Conversion, ModuleContext, NotConvertible, register_conversion

_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_OWN = [
    layer.forward
    for layer in (
        *(nn.Linear, nn.Bilinear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
        *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    )
]


@register_conversion(nn.Linear, nn.Bilinear, _ConvNd, stage="constants")
def bias(module: nn.Module, context: ModuleContext) -> Conversion | NotConvertible:
    """A bias is dropped."""
    constant = module.bias
    if not isinstance(constant, Tensor):
        return NotConvertible("has no bias, but a forward of its own", "Register a conversion for its class")
    size = float(constant.detach().abs().max()) if constant.numel() else 0.0
    if "bias" not in module._parameters:
        return NotConvertible(
            f"computes its bias of up to {size:.2g} from something else (a parametrization)",
            "Remove the parametrization, or fix it by torch.nn.utils.parametrize.remove_parametrizations",
        )
    if type(module).forward in _OWN:
        module.register_parameter("bias", None)
    else:  # a forward of the user's own may do anything with it but find None
        del module._parameters["bias"]
        module.register_buffer("bias", torch.zeros_like(constant.detach()))
    name = type(module).__name__
    why = f"drops a bias of up to {size:.2g}" if size else "drops a bias that is zero so far"
    return Conversion(module, why, exact=size == 0, before=name, after=f"{name} without bias")


@register_conversion(
    *(F.linear, F.bilinear, *(getattr(F, name) for name in (*_CONVOLUTIONS, *_TRANSPOSED))),
    *(getattr(torch, name) for name in _CONVOLUTIONS if getattr(torch, name) is not getattr(F, name)),
    stage="constants",
)
def bias_argument(call: FunctionCall, context: ModuleContext) -> Conversion | NotConvertible:
    """The bias that is passed to a function is dropped."""
    without = WithoutArgument(call.function, 3 if call.function is F.bilinear else 2, "bias")
    return Conversion(without, "drops the bias it is passed", after=f"{call.name} without bias")
