"""Functions and operators that are called inside a forward, as modules, so that they can be replaced.

Three forms of one call: ``F.gelu(x)`` is the layer ``nn.GELU`` and gets the layer's conversion. ``x.add_(1)``,
``x += 1`` and ``torch.add(x, 1)`` are one function, by :data:`ONE_FUNCTION`. Every other function with a conversion
becomes a :class:`FunctionCall`, which runs it as it was written and tells rules which arguments are constants.

What must never happen: that a module computes anything else than the call. So a layer takes over only where its
arguments are those of the function in the same order, and what it refuses stays a call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from captum_xg.xdnn.layers import Clamp


def _dropping(layer: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Return what makes a layer that drops in training mode of the arguments of the function."""

    def make(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Module:
        if training:  # the flag is what ``self.training`` was when it was recorded
            raise TypeError("drops in evaluation mode as well")
        return layer(p, inplace)

    return make


def _softmax(dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> nn.Module:
    if dim is None or dtype is not None:
        raise TypeError("the layer knows neither a dimension by the shape nor another dtype")
    return nn.Softmax(dim)


def _softmax_of_torch(dim: int, dtype: torch.dtype | None = None) -> nn.Module:
    return _softmax(dim, dtype=dtype)


# Their functions have the same name in lower case, and their arguments the same order. F.relu needs no conversion.
_LAYERS: tuple[type[nn.Module], ...] = (
    *(nn.ReLU6, nn.Hardtanh, nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish, nn.Softplus, nn.Threshold, nn.ELU, nn.CELU),
    *(nn.SELU, nn.Softsign, nn.GLU, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh),
)
AS_LAYER: dict[object, Callable[..., nn.Module]] = {
    **{getattr(F, layer.__name__.lower()): layer for layer in _LAYERS},
    **{getattr(torch, layer.__name__.lower()): layer for layer in (nn.SELU, nn.CELU, nn.Sigmoid, nn.Tanh)},
    # They do nothing in evaluation mode, but as modules they drop again when the result is fine-tuned.
    F.dropout: _dropping(nn.Dropout),
    F.dropout1d: _dropping(nn.Dropout1d),
    F.dropout2d: _dropping(nn.Dropout2d),
    F.dropout3d: _dropping(nn.Dropout3d),
    F.softmax: _softmax,
    torch.softmax: _softmax_of_torch,
    torch.clamp: Clamp,
    torch.clip: Clamp,
}
"""Functions whose further arguments are those of a layer, in the same order; none that overwrites its argument, as a
layer returns a new tensor, and what reads the old one afterwards would see old numbers."""

_FUSED_SUMS = tuple(
    f"{name}{in_place}"
    for name in ("addcmul", "addcdiv", "addmm", "addbmm", "baddbmm", "addmv", "addr")
    for in_place in ("", "_")
)
ONE_FUNCTION: dict[object, object] = {
    # In place or not: rules replace the call by what returns a new tensor.
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    **{
        getattr(torch.Tensor, name): getattr(torch, name.removesuffix("_"))
        for name in ("add", "add_", "sub", "sub_", "clamp", "clip", "sigmoid", "tanh", "softmax", *_FUSED_SUMS)
    },
    torch.subtract: torch.sub,
    torch.multiply: torch.mul,
    torch.Tensor.mul: torch.mul,
    torch.Tensor.multiply: torch.mul,
    torch.Tensor.pow: torch.pow,
    torch.Tensor.__pow__: torch.pow,
    operator.pow: torch.pow,
    torch.Tensor.square: torch.square,
    torch.special.expit: torch.sigmoid,
    torch.special.softmax: torch.softmax,
}
"""Functions that are another one by another name, or in place."""


PRODUCTS = (torch.mul, operator.mul)
"""Functions of two factors."""
POWERS = (torch.pow, torch.square)
"""Functions of a base, whose exponent is not computed."""


class FunctionCall(nn.Module):
    """A call of a function, as a module of its own.

    Args:
        function: The function.
        constants: Positions and names of those arguments that do not depend on the model's input.
        literals: What is known of these already: numbers, None and the like, not tensors.

    Attributes:
        function: The function by its usual name: :func:`torch.add` for :meth:`torch.Tensor.add_`.
        as_written: The function as it is called.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        constants: frozenset[int | str] = frozenset(),
        literals: Mapping[int | str, object] | None = None,
    ) -> None:
        super().__init__()
        self.literals = dict(literals or {})
        self.function: Any = ONE_FUNCTION.get(function, function)
        self.constants = constants
        self.as_written = function

    @property
    def name(self) -> str:
        """The function's name."""
        return str(getattr(self.function, "__name__", self.function))

    def literal(self, position: int, name: str, default: object) -> object:
        """Return an argument, or a default if it was not passed or is only known when the model runs."""
        return self.literals.get(position, self.literals.get(name, default))

    def forward(self, *arguments: object, **named: object) -> Any:
        """Return what the function returns."""
        return self.as_written(*arguments, **named)

    def extra_repr(self) -> str:
        """Return the function's name."""
        return self.name
