"""Batch norms folded into the linear layer before or after them: exact, so done first."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized
from torchvision.ops import FrozenBatchNorm2d

from captum_xg.xdnn.flow import Flow

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TRANSPOSED = _LINEAR[-3:]
NORMS = (_BatchNorm, FrozenBatchNorm2d)


def slope_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    """Return a and b of y = a·x + b, which a batch norm with running statistics is, in double precision."""
    with torch.no_grad():
        slope = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.weight is not None:
            slope = slope * norm.weight.double()
        shift = -norm.running_mean.double() * slope
        if norm.bias is not None:
            shift = shift + norm.bias.double()
    return slope, shift


def fold_batch_norms(model: nn.Module, flow: Flow) -> list[tuple[str, str, bool]]:
    """Fold batch norms into linear layers where nothing else sees what flows between them.

    Before: y = a·(Wx + c) + b = (aW)x + (ac + b). After, where no zeros are padded to what a and b act on:
    W(ax + b) + c = (Wa)x + (Wb + c). The norm becomes an identity, so that paths stay.

    Args:
        model: It is changed.
        flow: What follows what in it.

    Returns:
        (path of the norm, path of the layer it went into, whether the layer came before it) for each.
    """
    modules = dict(model.named_modules())
    uses = _uses(model)
    folded = []
    for path, norm in list(modules.items()):
        if not isinstance(norm, NORMS) or (norm.training and isinstance(norm, _BatchNorm)):
            continue
        if norm.running_mean is None or norm.running_var is None or _touched(norm, uses):
            continue
        before = flow.only_source(path)
        after = flow.only_follower(path)
        if before is not None and _foldable(modules.get(before), uses) and flow.only_follower(before) == path:
            _fold_into_previous(modules[before], norm)
            folded.append((path, before, True))
        elif (
            after is not None
            and _foldable(modules.get(after), uses)
            and not _pads_zeros(modules[after])
            and flow.only_source(after) == path
        ):
            _fold_into_next(norm, modules[after])
            folded.append((path, after, False))
        else:
            continue
        replace_module(model, norm, nn.Identity())
    return folded


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in the place of another wherever that stands."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)


def _uses(model: nn.Module) -> dict[int, int]:
    """Return in how many modules each parameter occurs."""
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    return uses


def _touched(module: nn.Module, uses: dict[int, int]) -> bool:
    """Return whether there is more to a module than its class and its own parameters."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    shared = any(p is not None and uses[id(p)] > 1 for p in module._parameters.values())
    return shared or any(hooks) or is_parametrized(module)


def _foldable(module: nn.Module | None, uses: dict[int, int]) -> bool:
    if module is None or type(module) not in _LINEAR:
        return False
    return module._parameters.get("weight") is not None and not _touched(module, uses)


def _pads_zeros(layer: Any) -> bool:
    if isinstance(layer, nn.Linear):
        return False
    if isinstance(layer, _TRANSPOSED):
        return True  # what a shift gives depends on the place, as fewer terms meet at the border
    padding = layer.padding
    return padding == "same" if isinstance(padding, str) else any(padding) and layer.padding_mode == "zeros"


def _fold_into_previous(layer: Any, norm: nn.Module) -> None:
    slope, shift = slope_and_shift(norm)
    with torch.no_grad():
        weight = layer.weight
        if isinstance(layer, _TRANSPOSED):  # (in, out / groups, …): the groups follow each other along dimension 0
            parts = weight.double().reshape(layer.groups, -1, *weight.shape[1:])
            scaled = parts * slope.reshape(layer.groups, 1, -1, *[1] * (weight.dim() - 2))
            scaled = scaled.reshape(weight.shape)
        else:
            scaled = weight.double() * slope.reshape(-1, *[1] * (weight.dim() - 1))
        bias = shift if layer.bias is None else layer.bias.double() * slope + shift
    _set(layer, scaled, bias)


def _fold_into_next(norm: nn.Module, layer: Any) -> None:
    slope, shift = slope_and_shift(norm)
    with torch.no_grad():
        weight = layer.weight.double()
        groups = getattr(layer, "groups", 1)
        shape = (groups, -1, *[1] * (weight.dim() - 2))
        per_group = slope.reshape(groups, 1, *shape[1:]), shift.reshape(groups, 1, *shape[1:])
        parts = weight.reshape(groups, -1, *weight.shape[1:])  # (groups, out / groups, in / groups, …)
        scaled = (parts * per_group[0]).reshape(weight.shape)
        bias = (parts * per_group[1]).flatten(2).sum(2).reshape(-1)
        if layer.bias is not None:
            bias = bias + layer.bias.double()
    _set(layer, scaled, bias)


def _set(layer: Any, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
            return
    made = nn.Parameter(bias.to(layer.weight), requires_grad=layer.weight.requires_grad)
    layer.register_parameter("bias", made)
