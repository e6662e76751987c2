"""Biases of linear layers are dropped."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from captum_xg.xdnn.functional_calls import FunctionCall
from captum_xg.xdnn.layers import WithoutArgument
from captum_xg.xdnn.registry import Conversion, ModuleContext, NotConvertible, register_conversion

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


_BIAS_POSITION: dict[Any, int] = {
    F.linear: 2,
    F.bilinear: 3,
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d, torch.conv1d, torch.conv2d, torch.conv3d), 2),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), 2),
}


@register_conversion(*_BIAS_POSITION, stage="constants")
def bias_argument(call: FunctionCall, context: ModuleContext) -> Conversion | NotConvertible:
    """The bias that is passed to a function is dropped."""
    without = WithoutArgument(call.function, _BIAS_POSITION[call.function], "bias")
    return Conversion(without, "drops the bias it is passed", after=f"{call.name} without bias")
