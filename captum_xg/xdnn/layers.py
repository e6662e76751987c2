"""Layers that take the place of others in a conversion."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_xg.xdnn.extension import HomogeneousExtension


class Rectifier(nn.ReLU):
    """max(x, 0), keeping its input for the backward pass where ReLU keeps its result.

    What follows may then write into the result, as it may behind SiLU, GELU or Hardswish.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return max(x, 0)."""
        if not self.inplace:
            return F.threshold(x, 0.0, 0.0)
        return x.copy_(F.threshold(x.clone(), 0.0, 0.0))


def rectifier(*, overwritten: bool, inplace: bool = False) -> nn.Module:
    """Return max(x, 0) as a layer, one whose result may be overwritten where that happens."""
    return Rectifier(inplace) if overwritten else nn.ReLU(inplace)


class HardGate(nn.Module):
    """min(max(x + 3, 0), 6), which people who write a hard sigmoid by hand divide by 6 afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        """Return six times the hard sigmoid of x."""
        return 6 * F.hardsigmoid(x)


class ChannelScale(nn.Module):
    """Multiply each channel of ``(N, C, …)`` by a number ``(C,)``: what remains of a batch norm without its shift."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return x times the weight of its channel."""
        return x * self.weight.reshape(-1, *[1] * (x.dim() - 2))

    def extra_repr(self) -> str:
        """Return the number of channels."""
        return str(len(self.weight))


class HomogeneousGate(nn.Module):
    """Multiply x by gates that its pooled values give, where α in front of x does not change the gates.

    x ↦ x · gate(r · p / rms(p)) with p = pool(x), rms(p) the root mean square of p per example: of degree 1, and
    x · gate(p) wherever rms(p) = r. At x = 0 it is 0.

    Args:
        pool: Takes each channel's mean.
        gate: Makes gates of the means.
        radius: r, the typical root mean square of the means.
    """

    def __init__(self, pool: nn.Module, gate: OrderedDict[str, nn.Module], radius: float) -> None:
        super().__init__()
        self.pool = pool
        self.gate = HomogeneousExtension(nn.Sequential(gate), degree=0, norm="rms", radius=radius)

    def forward(self, x: Tensor) -> Tensor:
        """Return x times its gates."""
        gates: Tensor = self.gate(self.pool(x))
        return x * gates


class HomogeneousGLU(nn.Module):
    """Gated linear unit with gates that do not change with α: a · σ(r · b / rms(b)) for the halves a, b of x.

    Args:
        dim: The dimension that is halved.
        radius: r, the typical root mean square of b.
    """

    def __init__(self, dim: int, radius: float) -> None:
        super().__init__()
        self.dim = dim
        self.gate = HomogeneousExtension(nn.Sigmoid(), degree=0, norm="rms", radius=radius)

    def forward(self, x: Tensor) -> Tensor:
        """Return one half times the gates that the other gives."""
        half, gated = torch.chunk(x, 2, dim=self.dim)
        gates: Tensor = self.gate(gated)
        return half * gates


class Clamp(nn.Module):
    """``torch.clamp`` with constant bounds, each of which may be missing, as a layer."""

    def __init__(self, min: float | None = None, max: float | None = None) -> None:
        super().__init__()
        self.min = min
        self.max = max

    def forward(self, x: Tensor) -> Tensor:
        """Return x, cut off."""
        return x.clamp(self.min, self.max)

    def extra_repr(self) -> str:
        """Return the bounds."""
        return f"{self.min}, {self.max}"


class MustBeNone(nn.Module):
    """Refuse an argument that was None when a forward was recorded."""

    def __init__(self, argument: str) -> None:
        super().__init__()
        self.argument = argument

    def forward(self, value: object) -> None:
        """Raise unless the value is None."""
        if value is not None:
            raise ValueError(
                f"`{self.argument}` was None when to_xdnn recorded this forward, so that it cannot be passed any more. "
                "Convert the model with that argument (additional_forward_args)."
            )

    def extra_repr(self) -> str:
        """Return the argument."""
        return self.argument


class WithoutArgument(nn.Module):
    """Call a function with None for one of its arguments."""

    def __init__(self, function: Callable[..., Any], position: int, name: str) -> None:
        super().__init__()
        self.function = function
        self.position = position
        self.name = name

    def forward(self, *arguments: object, **named: object) -> Any:
        """Return what the function returns without the argument."""
        passed = [None if i == self.position else value for i, value in enumerate(arguments)]
        return self.function(*passed, **{key: value for key, value in named.items() if key != self.name})

    def extra_repr(self) -> str:
        """Return the function and the argument."""
        return f"{getattr(self.function, '__name__', self.function)}, {self.name}"
