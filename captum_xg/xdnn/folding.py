"""Batch norms folded into the linear layer before or after them.

Before: y = a·(Wx + c) + b = (aW)x + (ac + b). After: W(ax + b) + c = (Wa)x + (Wb + c), where no zeros are padded to
what a and b act on. The norm becomes an identity, so that paths stay.

What must never happen: that the outputs change by more than rounding. So a norm is folded only where nothing else sees
what flows between the two, or reads their parameters, and where neither has hooks, parametrizations or shared
parameters; a layer with a forward of its own is tried on random numbers, and put back if the result is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import is_parametrized

from captum_xg._core import batch_norm
from captum_xg.xdnn.dataflow import Dataflow
from captum_xg.xdnn.replacement import has_hooks, replace_module

_Layer: TypeAlias = nn.Linear | _ConvNd
_Values: TypeAlias = tuple[Tensor, Tensor]
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


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

    Args:
        model: It is changed.
        flow: What follows what in it.
    """
    modules, uses, folded = dict(model.named_modules()), uses_of(model), list[Folded]()
    for path, norm in list(modules.items()):
        if not folds(norm) or path in flow.exposed or _touched(norm, uses):
            continue
        neighbour = _neighbour(path, modules, flow, uses)
        if neighbour is None:
            continue
        name, layer, before = neighbour
        # A subclass may standardise its weight, or scale it: then the formula for the plain layer is wrong.
        own_forward = type(layer) not in _LINEAR
        first, both = (name, (layer, norm)) if before else (path, (norm, layer))
        expected = _tried(nn.Sequential(*both), flow[first].shapes) if own_forward else None
        identity = nn.Identity().train(norm.training)
        bias = layer._parameters.get("bias")
        # Copies, as the folded values are written into the tensors that are there.
        old = layer.weight.detach().clone(), None if bias is None else bias.detach().clone()
        undo = partial(_undo, model, norm, identity, layer, bias, *old)
        _set(layer, *(_into_previous if before else _into_next)(layer, *slope_and_shift(norm)))
        replace_module(model, norm, identity)
        if own_forward and not _same(expected, _tried(layer, flow[name].shapes)):
            undo()
        else:
            folded.append(Folded(path, name, before, undo))
    return folded


def folds(norm: nn.Module) -> bool:
    """Return whether a module is a batch norm that is y = a·x + b for each channel, and nothing else."""
    from torchvision.ops import FrozenBatchNorm2d  # here, as torchvision takes as long to import as captum

    own = (_BatchNorm.forward, nn.SyncBatchNorm.forward, FrozenBatchNorm2d.forward)
    if not isinstance(norm, (_BatchNorm, FrozenBatchNorm2d)) or type(norm).forward not in own:
        return False
    by_batch = isinstance(norm, _BatchNorm) and norm.training
    return not by_batch and norm.running_mean is not None and norm.running_var is not None


def slope_and_shift(norm: Any) -> _Values:
    """Return a and b of y = a·x + b, which a batch norm with running statistics is, in double precision."""
    weight, bias = (None if t is None else t.double() for t in (norm.weight, norm.bias))
    # Double precision, as weights are multiplied by 1/√variance, which may be large, before they are rounded again.
    return batch_norm.slope_and_shift(norm.running_mean.double(), norm.running_var.double(), weight, bias, norm.eps)


def uses_of(model: nn.Module) -> dict[int, int]:
    """Return in how many modules each parameter occurs, by its id."""
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


def _neighbour(
    norm: str, modules: dict[str, nn.Module], flow: Dataflow, uses: dict[int, int]
) -> tuple[str, _Layer, bool] | None:
    """Return path and module of the linear layer that a norm can go into, and whether it comes before the norm."""
    before, after = flow[norm].only_source, flow[norm].only_follower
    # The layer before is tried first: it takes in the shift whatever its padding, since it is added afterwards.
    if before is not None and flow[before].only_follower == norm:
        layer = modules.get(before)
        if isinstance(layer, _LINEAR) and _takes_in(layer, before, norm, flow, uses):
            return before, layer, True
    if after is not None and flow[after].only_source == norm:
        layer = modules.get(after)
        if isinstance(layer, _LINEAR) and _takes_in(layer, after, norm, flow, uses) and not _pads_zeros(layer):
            return after, layer, False
    return None


def _takes_in(layer: _Layer, path: str, norm: str, flow: Dataflow, uses: dict[int, int]) -> bool:
    if isinstance(layer, nn.Linear) and (flow[path].dims != {2} or flow[norm].dims != {2}):
        return False  # of more dimensions, a linear layer acts on the last and a batch norm on the second
    return path not in flow.exposed and layer._parameters.get("weight") is not None and not _touched(layer, uses)


def _tried(module: nn.Module, shapes: list[torch.Size]) -> Tensor | None:
    """Return what modules make of random numbers, to see whether a layer with a forward of its own is linear."""
    parameter = next(module.parameters(), None)
    if not shapes or parameter is None:
        return None
    # A generator of its own, so that a conversion draws no number of the user's.
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


def _pads_zeros(layer: _Layer) -> bool:
    if isinstance(layer, nn.Linear):
        return False
    if isinstance(layer, _TRANSPOSED):
        return True  # what a shift gives depends on the place, as fewer terms meet at the border
    padding = layer.padding
    return padding == "same" if isinstance(padding, str) else any(padding) and layer.padding_mode == "zeros"


def _by_group(layer: _Layer) -> Tensor:
    """Return the weight in double precision, with a dimension for the groups before all others."""
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    return layer.weight.detach().double().reshape(groups, -1, *layer.weight.shape[1:])


def _into_previous(layer: _Layer, slope: Tensor, shift: Tensor) -> _Values:
    weight = _by_group(layer)
    outputs = 2 if isinstance(layer, _TRANSPOSED) else 1  # (groups, in / groups, out / groups, …) there
    scale = slope.reshape(len(weight), *(-1 if d == outputs else 1 for d in range(1, weight.dim())))
    bias = shift if layer.bias is None else layer.bias.detach().double() * slope + shift
    return weight * scale, bias


def _into_next(layer: _Layer, slope: Tensor, shift: Tensor) -> _Values:
    weight = _by_group(layer)  # (groups, out / groups, in / groups, …)
    per_input = len(weight), 1, -1, *[1] * (weight.dim() - 3)
    bias = (weight * shift.reshape(per_input)).flatten(2).sum(2).reshape(-1)
    return weight * slope.reshape(per_input), bias if layer.bias is None else bias + layer.bias.detach().double()


def _set(layer: _Layer, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.copy_(bias)
            return
    # A frozen layer stays frozen: what was folded into it was not trained separately.
    made = nn.Parameter(bias.to(layer.weight), requires_grad=layer.weight.requires_grad)
    layer.register_parameter("bias", made)


def _undo(
    model: nn.Module,
    norm: nn.Module,
    identity: nn.Module,
    layer: nn.Module,
    bias: nn.Parameter | None,
    weight_before: Tensor,
    bias_before: Tensor | None,
) -> None:
    with torch.no_grad():
        layer.get_parameter("weight").copy_(weight_before)
        if bias is not None and bias_before is not None:
            bias.copy_(bias_before)
    layer._parameters["bias"] = bias
    replace_module(model, identity, norm)
