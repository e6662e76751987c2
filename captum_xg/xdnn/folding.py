"""Batch norms folded into the linear layer before or after them: exact, so done first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized

from captum_xg.xdnn.dataflow import Dataflow
from captum_xg.xdnn.replacement import has_hooks, replace_module

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TRANSPOSED = _LINEAR[-3:]


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


@dataclass(frozen=True)
class Folded:
    """One batch norm that was folded.

    Attributes:
        norm: Its path.
        layer: The path of the layer it went into.
        before: Whether that layer came before it.
        undo: Takes it back.
    """

    norm: str
    layer: str
    before: bool
    undo: Callable[[], None]


def fold_batch_norms(model: nn.Module, flow: Dataflow) -> list[Folded]:
    """Fold batch norms into linear layers where nothing else sees what flows between them.

    Before: y = a·(Wx + c) + b = (aW)x + (ac + b). After, where no zeros are padded to what a and b act on:
    W(ax + b) + c = (Wa)x + (Wb + c). The norm becomes an identity, so that paths stay.

    Args:
        model: It is changed.
        flow: What follows what in it.
    """
    modules = dict(model.named_modules())
    uses = uses_of(model)
    folded = []
    for path, norm in list(modules.items()):
        if not folds(norm) or path in flow.exposed or _touched(norm, uses):
            continue
        before, after = flow.only_source(path), flow.only_follower(path)
        if before is not None and flow.only_follower(before) == path and _foldable(modules, before, path, flow, uses):
            layer, into = before, _into_previous
        elif (
            after is not None
            and flow.only_source(after) == path
            and _foldable(modules, after, path, flow, uses)
            and not _pads_zeros(modules[after])
        ):
            layer, into = after, _into_next
        else:
            continue
        own_forward = type(modules[layer]) not in _LINEAR
        first, second = (layer, path) if layer == before else (path, layer)
        both = nn.Sequential(modules[first], modules[second])
        expected = _tried(both, flow[first].shapes) if own_forward else None
        identity = nn.Identity().train(norm.training)
        undo = partial(_undo, model, norm, identity, modules[layer], _parameters(modules[layer]))
        _set(modules[layer], *into(modules[layer], norm))
        replace_module(model, norm, identity)
        if own_forward and not _same(expected, _tried(modules[layer], flow[layer].shapes)):
            undo()
            continue
        folded.append(Folded(path, layer, layer == before, undo))
    return folded


def folds(norm: nn.Module) -> bool:
    """Return whether a module is a batch norm that is y = a·x + b for each channel, and nothing else."""
    from torchvision.ops import FrozenBatchNorm2d  # here, as torchvision takes as long to import as captum

    own = (_BatchNorm.forward, nn.SyncBatchNorm.forward, FrozenBatchNorm2d.forward)
    if not isinstance(norm, (_BatchNorm, FrozenBatchNorm2d)) or type(norm).forward not in own:
        return False
    by_batch = isinstance(norm, _BatchNorm) and norm.training
    return not by_batch and norm.running_mean is not None and norm.running_var is not None


def uses_of(model: nn.Module) -> dict[int, int]:
    """Return in how many modules each parameter occurs."""
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    return uses


def _touched(module: nn.Module, uses: dict[int, int]) -> bool:
    """Return whether there is more to a module than its class and its own parameters."""
    shared = any(p is not None and uses.get(id(p), 1) > 1 for p in module._parameters.values())
    return shared or has_hooks(module) or is_parametrized(module)


def _foldable(modules: dict[str, nn.Module], layer: str, norm: str, flow: Dataflow, uses: dict[int, int]) -> bool:
    module = modules.get(layer)
    if not isinstance(module, _LINEAR) or layer in flow.exposed:
        return False
    if isinstance(module, nn.Linear) and (flow[layer].dims != {2} or flow[norm].dims != {2}):
        return False  # of more dimensions, a linear layer acts on the last and a batch norm on the second
    return module._parameters.get("weight") is not None and not _touched(module, uses)


def _tried(module: nn.Module, shapes: list[torch.Size]) -> Tensor | None:
    """Return what modules make of random numbers, to see whether a layer with a forward of its own is linear."""
    parameter = next(module.parameters(), None)
    if not shapes or parameter is None:
        return None
    x = torch.randn(shapes[0], generator=torch.Generator().manual_seed(0)).to(parameter)
    with torch.no_grad():
        try:
            result = module(x)
        except Exception:  # whatever a forward of the user's own does on random numbers
            return None
    return result if isinstance(result, Tensor) else None


def _same(expected: Tensor | None, result: Tensor | None) -> bool:
    if expected is None or result is None or expected.shape != result.shape:
        return False
    return torch.allclose(result, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def _pads_zeros(layer: Any) -> bool:
    if isinstance(layer, nn.Linear):
        return False
    if isinstance(layer, _TRANSPOSED):
        return True  # what a shift gives depends on the place, as fewer terms meet at the border
    padding = layer.padding
    return padding == "same" if isinstance(padding, str) else any(padding) and layer.padding_mode == "zeros"


def _into_previous(layer: Any, norm: nn.Module) -> tuple[Tensor, Tensor]:
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
    return scaled, bias


def _into_next(layer: Any, norm: nn.Module) -> tuple[Tensor, Tensor]:
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
    return scaled, bias


def _set(layer: Any, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
            return
    made = nn.Parameter(bias.to(layer.weight), requires_grad=layer.weight.requires_grad)
    layer.register_parameter("bias", made)


def _parameters(layer: Any) -> tuple[Tensor, nn.Parameter | None, Tensor | None]:
    return layer.weight.detach().clone(), layer.bias, None if layer.bias is None else layer.bias.detach().clone()


def _undo(
    model: nn.Module,
    norm: nn.Module,
    identity: nn.Module,
    layer: Any,
    before: tuple[Tensor, nn.Parameter | None, Tensor | None],
) -> None:
    weight, bias, values = before
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None and values is not None:
            bias.copy_(values)
    layer.bias = bias
    replace_module(model, identity, norm)
