"""The modules behind a forward function, and those among them that must not be in training mode.

A forward function is a module, a method, a partial, a closure or any callable object. What its *code mentions* is
followed, one step at a time: ``lambda x: net(x)[0]`` leads to ``net``, and a trainer's method that says ``self.model``
leads to the model and not to whatever else the trainer owns. Missed modules would be missed parameters: unchecked
modes, and proofs that outlive a change.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from captum_xg._core.reflection import (
    attribute,
    held_in,
    is_a,
    is_tensor,
    own_attributes,
    submodules,
)
from captum_xg._core.types import ForwardFunction
from captum_xg.errors import TrainingModeError


def modules_of(forward_func: ForwardFunction) -> list[nn.Module]:
    """Return the modules that a callable is or directly refers to, each once.

    A module, a method bound to one, a partial over them, functions whose defaults, closure or globals *that the code
    really loads* are any of these or a list or dict of modules, and methods and callable objects whose code mentions an
    attribute of theirs that is.
    """
    found: dict[int, nn.Module] = {}
    _collect(forward_func, found, {}, set())
    return list(found.values())


def modules_under(roots: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield modules and those in them, each once.

    By hand, and not by ``named_modules()``, which makes a path for each: this runs at every call of an explainer.
    """
    seen: set[int] = set()
    stack: list[nn.Module | None] = list(roots)
    while stack:
        module = stack.pop()
        if module is None or id(module) in seen:
            continue
        seen.add(id(module))
        yield module
        stack.extend(module._modules.values())


def tensors_referred_to(forward_func: ForwardFunction) -> list[Tensor]:
    """Return the tensors that a callable directly refers to in the ways of :func:`modules_of`, each once."""
    found: dict[int, Tensor] = {}
    _collect(forward_func, {}, found, set())
    return list(found.values())


def named_modules_of(forward_func: ForwardFunction) -> dict[int, tuple[str, nn.Module]]:
    """Return id → (path, module) for every module under :func:`modules_of`; shared ones under their first path."""
    named: dict[int, tuple[str, nn.Module]] = {}
    for root in modules_of(forward_func):
        for path, module in submodules(root):
            named.setdefault(id(module), (path, module))
    return named


def require_evaluation_mode(
    forward_func: ForwardFunction, where: str, remedy: str = "Call model.eval() first."
) -> None:
    """Refuse modules that are random, mix examples or change themselves while they train, before anything runs.

    Raises:
        TrainingModeError: Naming each of them.
    """
    offenders = [
        f"{path or 'the model itself'} ({type(module).__name__}): {effect}"
        for path, module in named_modules_of(forward_func).values()
        if attribute(module, "training", False) and (effect := _training_effect(module))
    ]
    if offenders:
        listed = "".join(f"\n    {line}" for line in offenders[:10])
        more = f"\n    … and {len(offenders) - 10} more" if len(offenders) > 10 else ""
        raise TrainingModeError(
            f"{where}: layers of the model are in training mode, so F(x) is not one fixed function of x:{listed}"
            f"{more}\n  {remedy} Nothing was run."
        )


@contextmanager
def evaluation_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put each of these modules, and none inside of them, into evaluation mode, and back into the mode it was in."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _training_effect(module: nn.Module) -> str | None:
    if isinstance(module, _BatchNorm):
        return "normalises by the statistics of the batch, which mixes examples, and changes its running statistics"
    if isinstance(module, _InstanceNorm) and module.track_running_stats:
        return "changes its running statistics"
    # As parametrization, and as the hook of torch.nn.utils.spectral_norm; each iterates its estimate when it trains.
    hooks = (attribute(module, "_forward_pre_hooks") or {}).values()
    if any(type(part).__name__ in ("_SpectralNorm", "SpectralNorm") for part in (module, *hooks)):
        return "estimates its spectral norm again and so changes its weight"
    drops = (
        (isinstance(module, _DropoutNd) and module.p > 0)
        or (isinstance(module, nn.RNNBase) and module.dropout > 0 and module.num_layers > 1)
        or (isinstance(module, nn.MultiheadAttention) and module.dropout > 0)
        # torchvision's StochasticDepth and the like: drop layers from elsewhere keep their rate in `p`.
        or (
            type(module).__name__ in ("StochasticDepth", "DropPath")
            and attribute(module, "p", attribute(module, "drop_prob", 1)) != 0
        )
    )
    if drops:
        return "drops activations at random"
    return "draws its slopes at random" if isinstance(module, nn.RReLU) else None


def _collect(value: Any, found: dict[int, nn.Module], tensors: dict[int, Tensor], seen: set[int]) -> None:
    if id(value) in seen:  # a partial may hold itself, two closures each other
        return
    seen.add(id(value))
    # A method of a module stands for the whole module.
    if is_a(value, types.MethodType) and is_a(value.__self__, nn.Module):
        value = value.__self__
    if is_a(value, nn.Module):
        found[id(value)] = value
    elif is_tensor(value):
        tensors[id(value)] = value
    elif is_a(value, (list, tuple, dict)):
        # One level only: containers of containers are data more often than networks.
        found.update({id(part): part for part in held_in(value) if is_a(part, nn.Module)})
        tensors.update({id(part): part for part in held_in(value) if is_tensor(part)})
    elif is_a(value, (functools.partial, types.MethodType, types.FunctionType)):
        for part in _parts(value):
            _collect(part, found, tensors, seen)
    elif is_a(method := attribute(value, "__call__"), types.MethodType):  # an object that is called
        _collect(method, found, tensors, seen)


def _parts(value: functools.partial[Any] | types.MethodType | types.FunctionType) -> Iterator[object]:
    if isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, types.FunctionType):
        yield from _referred_to(value)
    # Methods of classes written in C have no code that could be looked at.
    elif isinstance(value.__func__, types.FunctionType):
        yield from _referred_to(value.__func__)
        yield from _attributes_used(value.__self__, value.__func__)


def _referred_to(function: types.FunctionType) -> Iterator[object]:
    yield from function.__defaults__ or ()
    yield from closed_over(function)
    for name in loaded_globals(function.__code__):
        referred: Any = function.__globals__.get(name)
        # Functions of other files are left alone: following them would walk through all of torch.
        elsewhere = is_a(referred, types.FunctionType) and referred.__globals__ is not function.__globals__
        if not elsewhere:
            yield referred


def closed_over(function: types.FunctionType) -> Iterator[object]:
    """Yield what a function's closure holds."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is assigned after the function was made
            continue


def _attributes_used(owner: object, function: types.FunctionType) -> Iterator[object]:
    """Yield the attributes of an object that its method mentions by name, and no others of what it may own."""
    mentioned = set(names_in(function.__code__))
    yield from (value for name, value in own_attributes(owner).items() if name in mentioned)


@functools.lru_cache(maxsize=1024)
def names_in(code: types.CodeType) -> tuple[str, ...]:
    """Return the names that code and the functions in it mention."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return code.co_names + tuple(name for part in inner for name in names_in(part))


@functools.lru_cache(maxsize=1024)
def loaded_globals(code: types.CodeType) -> tuple[str, ...]:
    """Return the names of globals that code and the functions in it load."""
    # Not co_names, which has attributes as well: ``x.model`` is no use of a global ``model``.
    names = [i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += loaded_globals(constant)
    return tuple(names)
