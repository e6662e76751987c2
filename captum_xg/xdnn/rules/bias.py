"""Constants that are added, and constants that are padded with."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.padding import _ConstantPadNd

from captum_xg.xdnn.calls import FunctionCall
from captum_xg.xdnn.registry import Conversion, Place, Refusal, register_conversion


@register_conversion(nn.Linear, nn.Bilinear, _ConvNd, stage="constants")
def bias(module: nn.Module, place: Place) -> Conversion | Refusal:
    """A bias is dropped."""
    constant = module.bias
    if not isinstance(constant, Tensor):
        return Refusal("has no bias, but a forward of its own", "Register a conversion for its class")
    size = float(constant.detach().abs().max()) if constant.numel() else 0.0
    if "bias" not in module._parameters:
        return Refusal(
            f"computes its bias of up to {size:.2g} from something else (a parametrization)",
            "Remove the parametrization, or fix it by torch.nn.utils.parametrize.remove_parametrizations",
        )
    module.register_parameter("bias", None)
    name = type(module).__name__
    why = f"drops a bias of up to {size:.2g}" if size else "drops a bias that is zero so far"
    return Conversion(module, why, exact=size == 0, before=name, after=f"{name} without bias")


@register_conversion(_ConstantPadNd, stage="constants")
def padding(module: _ConstantPadNd, place: Place) -> Conversion:
    """A constant is padded with zero instead."""
    value, module.value = module.value, 0.0
    return Conversion(module, f"pads with 0 instead of {value:g}")


@register_conversion(torch.add, torch.sub, torch.rsub, operator.add, operator.sub, stage="constants")
def addition(call: FunctionCall, place: Place) -> Conversion | Refusal:
    """A constant that is added or subtracted is dropped."""
    kept = [position for position in (0, 1) if position not in call.constants]
    if len(kept) != 1 or (call.literal(2, "alpha", 1) != 1 and kept != [0]):
        return Refusal("adds two values that scale differently", "Bring the parts to one degree")
    negated = (call.function in (torch.sub, operator.sub)) == (kept[0] == 1)
    if call.function is torch.rsub:
        negated = kept[0] == 0
    elif call.function in (torch.add, operator.add):
        negated = False
    return Conversion(Kept(kept[0], negated), "drops a constant", after="the other operand")


class Kept(nn.Module):
    """Return one of the arguments, or its negative."""

    def __init__(self, position: int, negated: bool) -> None:
        super().__init__()
        self.position = position
        self.negated = negated

    def forward(self, *arguments: Any) -> Any:
        """Return the argument."""
        return -arguments[self.position] if self.negated else arguments[self.position]

    def extra_repr(self) -> str:
        """Return which argument."""
        return f"{self.position}, negated={self.negated}"


_BIAS_POSITION: dict[Any, int] = {
    F.linear: 2,
    F.bilinear: 3,
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d, torch.conv1d, torch.conv2d, torch.conv3d), 2),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), 2),
}


@register_conversion(*_BIAS_POSITION, stage="constants")
def bias_argument(call: FunctionCall, place: Place) -> Conversion | Refusal:
    """The bias that is passed to a function is dropped."""
    without = WithoutArgument(call.function, _BIAS_POSITION[call.function], "bias")
    return Conversion(without, "drops the bias it is passed", after=f"{call.name} without bias")


class WithoutArgument(nn.Module):
    """Call a function with None for one of its arguments."""

    def __init__(self, function: Any, position: int, name: str) -> None:
        super().__init__()
        self.function = function
        self.position = position
        self.name = name

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Return what the function returns without the argument."""
        passed = [None if i == self.position else value for i, value in enumerate(arguments)]
        return self.function(*passed, **{key: value for key, value in named.items() if key != self.name})

    def extra_repr(self) -> str:
        """Return the function and the argument."""
        return f"{getattr(self.function, '__name__', self.function)}, {self.name}"


@register_conversion(F.pad, stage="constants")
def padding_function(call: FunctionCall, place: Place) -> Conversion:
    """A constant is padded with zero instead."""
    return Conversion(WithoutArgument(F.pad, 3, "value"), "pads with 0", after="pad with 0")
