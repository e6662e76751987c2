"""Constants that are added in a forward, and fixed statistics that the input is normalised by."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import Normalize

from captum_xg.xdnn.functional_calls import FunctionCall
from captum_xg.xdnn.layers import ChannelScale
from captum_xg.xdnn.registry import Conversion, ModuleContext, NotConvertible, register_conversion


@register_conversion(Normalize, stage="constants")
def normalize(module: Normalize, context: ModuleContext) -> Conversion:
    """The division by the standard deviation stays, the mean is not subtracted."""
    scale = ChannelScale(1 / torch.as_tensor(module.std, dtype=torch.float32))
    scale.weight.requires_grad_(False)
    return Conversion(scale, "no longer subtracts the mean, and still divides by the standard deviation")


@register_conversion(torch.add, torch.sub, torch.rsub, operator.add, operator.sub, stage="constants")
def addition(call: FunctionCall, context: ModuleContext) -> Conversion | NotConvertible:
    """A constant that is added or subtracted is dropped."""
    kept = [position for position in (0, 1) if position not in call.constants]
    multiplied = 0 if call.function is torch.rsub else 1  # by alpha
    if len(kept) != 1 or (call.literal(2, "alpha", 1) != 1 and kept == [multiplied]):
        return NotConvertible("adds two values that scale differently", "Bring the parts to one degree")
    if context.divides:
        return Conversion(Denominator(kept[0]), "drops a constant from a denominator; a quotient by zero is zero")
    subtracted = {torch.sub: 1, operator.sub: 1, torch.rsub: 0}.get(call.function)  # the position of what is negated
    return Conversion(Kept(kept[0], kept[0] == subtracted), "drops a constant", after="the other operand")


_FACTORS = (
    ("input",),
    ("tensor1", "mat1", "batch1", "mat", "vec1"),
    ("tensor2", "mat2", "batch2", "vec", "vec2"),
)
"""What the arguments of sums with a product are called: what it is added to, and the factors."""


@register_conversion(
    *(torch.addcmul, torch.addcdiv, torch.addmm, torch.addbmm, torch.baddbmm, torch.addmv, torch.addr),
    stage="constants",
)
def fused_sum(call: FunctionCall, context: ModuleContext) -> Conversion | NotConvertible:
    """A constant that a product is added to, or a constant product that is added, is dropped."""
    constant = [bool({position, *names} & call.constants) for position, names in enumerate(_FACTORS)]
    product_is_constant = constant[1] and constant[2]
    if constant[0] == product_is_constant:
        return NotConvertible("adds two values that scale differently", "Bring the parts to one degree")
    zero = 1 if product_is_constant else 0
    return Conversion(WithZeros(call.function, zero), "drops a constant", after=f"{call.name} without it")


class WithZeros(nn.Module):
    """Call a function that adds a product with zeros in the place of one argument, so that the shapes stay."""

    def __init__(self, function: Callable[..., Tensor], position: int) -> None:
        super().__init__()
        self.function = function
        self.position = position

    def forward(self, *arguments: Any, **named: Any) -> Tensor:
        """Return what the function returns with zeros."""
        passed = [torch.zeros_like(value) if i == self.position else value for i, value in enumerate(arguments)]
        names = _FACTORS[self.position]
        return self.function(*passed, **{k: torch.zeros_like(v) if k in names else v for k, v in named.items()})

    def extra_repr(self) -> str:
        """Return the function and the position."""
        return f"{getattr(self.function, '__name__', self.function)}, {self.position}"


class Kept(nn.Module):
    """Return one of the arguments, or its negative, in the shape that the sum had."""

    def __init__(self, position: int, negated: bool) -> None:
        super().__init__()
        self.position = position
        self.negated = negated

    def forward(self, *arguments: object, alpha: float = 1) -> Any:
        """Return the argument."""
        kept = _in_shape_of_sum(arguments, self.position)
        return -kept if self.negated else kept

    def extra_repr(self) -> str:
        """Return which argument."""
        return f"{self.position}, negated={self.negated}"


class Denominator(nn.Module):
    """Return one of the arguments, with infinity for zero: what is divided by it is then zero, and not 0/0.

    It takes the place of x + eps, where eps was there to keep the quotient finite.
    """

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position

    def forward(self, *arguments: object, alpha: float = 1) -> Tensor:
        """Return the argument."""
        kept: Tensor = _in_shape_of_sum(arguments, self.position)
        return kept.masked_fill(kept == 0, math.inf)


def _in_shape_of_sum(arguments: tuple[Any, ...], position: int) -> Any:
    kept, constant = arguments[position], arguments[1 - position]
    if not isinstance(kept, Tensor) or not isinstance(constant, Tensor):
        return kept
    shape = torch.broadcast_shapes(kept.shape, constant.shape)  # type: ignore[no-untyped-call]
    return kept if kept.shape == shape else kept.expand(shape).clone()
