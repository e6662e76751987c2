"""The modules behind a forward function, and those among them that must not be in training mode."""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from captum_xg.errors import TrainingModeError


def modules_of(forward_func: Callable[..., Any]) -> list[nn.Module]:
    """Return the modules that a callable is or directly refers to, each once.

    A module, a method bound to one, a partial over them, and functions whose defaults, closure or globals *that the
    code really loads* are any of these.
    """
    found: dict[int, nn.Module] = {}
    _collect(forward_func, found, set())
    return list(found.values())


def named_modules_of(forward_func: Callable[..., Any]) -> dict[int, tuple[str, nn.Module]]:
    """Return id → (path, module) for every module under :func:`modules_of`; shared ones under their first path."""
    named: dict[int, tuple[str, nn.Module]] = {}
    for root in modules_of(forward_func):
        for path, module in root.named_modules():
            named.setdefault(id(module), (path, module))
    return named


def require_evaluation_mode(forward_func: Callable[..., Any], where: str) -> None:
    """Refuse modules that make the forward pass random or mix examples while they train, before anything runs.

    Raises:
        TrainingModeError: Naming each of them.
    """
    offenders = [
        f"{path or 'the model itself'} ({type(module).__name__}): {effect}"
        for path, module in named_modules_of(forward_func).values()
        if module.training and (effect := _training_effect(module))
    ]
    if offenders:
        listed = "".join(f"\n    {line}" for line in offenders[:10])
        more = f"\n    … and {len(offenders) - 10} more" if len(offenders) > 10 else ""
        raise TrainingModeError(
            f"{where}: layers of the model are in training mode, so F(x) is not one fixed function of x:{listed}"
            f"{more}\n  Call model.eval() first. Nothing was run."
        )


def _training_effect(module: nn.Module) -> str | None:
    if isinstance(module, _BatchNorm):
        return "normalises by the statistics of the batch, which mixes examples, and changes its running statistics"
    drops = (
        (isinstance(module, _DropoutNd) and module.p > 0)
        or (isinstance(module, nn.RNNBase) and module.dropout > 0 and module.num_layers > 1)
        or (isinstance(module, nn.MultiheadAttention) and module.dropout > 0)
        # torchvision's StochasticDepth and the like: drop layers from elsewhere keep their rate in `p`.
        or (type(module).__name__ in ("StochasticDepth", "DropPath") and getattr(module, "p", 1) != 0)
    )
    if drops:
        return "drops activations at random"
    return "draws its slopes at random" if isinstance(module, nn.RReLU) else None


def _collect(value: Any, found: dict[int, nn.Module], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        found[id(value)] = value
    elif isinstance(value, functools.partial):
        for part in (value.func, *value.args, *value.keywords.values()):
            _collect(part, found, seen)
    elif isinstance(value, types.MethodType):
        if isinstance(value.__self__, nn.Module):
            found[id(value.__self__)] = value.__self__
        else:
            _collect(value.__func__, found, seen)
    elif isinstance(value, types.FunctionType):
        for referred in _referred_to(value):
            _collect(referred, found, seen)


def _referred_to(function: types.FunctionType) -> Iterator[Any]:
    yield from function.__defaults__ or ()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is assigned after the function was made
            continue
    for name in _loaded_globals(function.__code__):
        referred = function.__globals__.get(name)
        # Functions of other files are left alone: following them would walk through all of torch.
        elsewhere = isinstance(referred, types.FunctionType) and referred.__globals__ is not function.__globals__
        if not elsewhere:
            yield referred


@functools.lru_cache(maxsize=1024)
def _loaded_globals(code: types.CodeType) -> tuple[str, ...]:
    names = [i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _loaded_globals(constant)
    return tuple(names)
