"""Where in an image constants act: what each carries of F, position by position of the layer that adds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_xg._core.function import ScalarFunction
from captum_xg._core.modules import named_modules_of
from captum_xg._core.state import preserve_state
from captum_xg._core.types import Tensors
from captum_xg.homogeneity.joint.augmented import ALONE
from captum_xg.homogeneity.ledger.added_constants import Added, ConstantWatch

_EPS = 1e-6


@dataclass(frozen=True)
class LayerMap:
    """What the constants of one call carry at the positions of its output.

    Attributes:
        name: The module and the constant.
        terms: Σ|c·∂F/∂y| over the channels, shape ``(N, h, w)``.
        least: The smallest |c·∂F/∂y| of each example, shape ``(N, 1, 1)``.
        most: The largest.
        channels: How many channels were added up.
    """

    name: str
    terms: Tensor
    least: Tensor
    most: Tensor
    channels: int

    def rescaled(self) -> Tensor:
        """Return Σ (|·| − least)/(most − least) over the channels, as the published code of FullGrad has it."""
        return (self.terms - self.channels * self.least) / (self.most - self.least + _EPS)


@dataclass
class _Mapped(Added):
    """One constant, which keeps what it carries at each position."""

    calls: list[LayerMap] = field(default_factory=list)

    def receive(self, constant: Tensor, gradient: Tensor, n: int) -> None:
        """Keep what one call carries, position by position, beside its sums."""
        super().receive(constant, gradient, n)
        if gradient.dim() == 4 and len(gradient) == n:
            wide = torch.promote_types(gradient.dtype, torch.float32)
            terms = (constant.to(wide) * gradient.to(wide)).abs()
            flat = terms.flatten(1)
            least, most = (edge.reshape(n, 1, 1) for edge in (flat.amin(1), flat.amax(1)))
            name = f"{self.module}.{self.constant}" if self.module else self.constant
            self.calls.append(LayerMap(name, terms.sum(1), least, most, terms.size(1)))


class _MapWatch(ConstantWatch):
    entry = _Mapped


@dataclass(frozen=True)
class ConstantMaps:
    """What constants carry, position by position where they have one.

    Attributes:
        layers: The maps, in the order of the backward pass.
        total: Σ c·∂F/∂c of all constants, those without a position among them, shape ``(N,)``.
    """

    layers: tuple[LayerMap, ...]
    total: Tensor


def constant_maps(function: ScalarFunction, inputs: Tensors) -> ConstantMaps:
    """Return what the constants of a forward function carry at each position, from one more pass.

    Args:
        function: F.
        inputs: The inputs that were explained.
    """
    names = named_modules_of(function.forward_func)
    watches: list[ConstantWatch] = []

    def run(*args: Any) -> Any:
        watches.append(_MapWatch(args[: len(inputs)], names, run.__code__))
        with watches[-1]:
            return function.forward_func(*args)

    watched = ScalarFunction(run, function.additional, function.target, function.where, first=function.first)
    with ALONE, torch.inference_mode(False), preserve_state(function.forward_func, inputs[0].device):
        try:
            evaluation = watched.evaluate(inputs)
        finally:
            for watch in watches:
                watch.release()
    total = torch.zeros_like(evaluation.values.detach(), dtype=torch.float64)
    layers: list[LayerMap] = []
    for added in watches[-1].found.added.values():
        if added.total is not None:
            total = total + added.total.to(total)
        if isinstance(added, _Mapped):
            layers += added.calls
    return ConstantMaps(tuple(layers), total)


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps of shape ``(N, h, w)`` at another size, by bilinear interpolation."""
    return F.interpolate(maps.unsqueeze(1), size=size, mode="bilinear", align_corners=True).squeeze(1)
