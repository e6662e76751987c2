"""Fingerprint of a forward function: modules, functions, and the state they refer to, up to the numbers in tensors.

A proof was made for what a forward pass could reach besides its inputs. Two fingerprints that are equal say that what
is near at hand is the same, so that the proof still holds for the structure; what it assumed about numbers is asked
again. Near at hand are modules, their settings, hooks and tensors; and of functions the code, the defaults, what they
close over and the globals that they name. Modules, tensors and objects count by address and form, settings and small
containers by what they hold.

It need not see everything, as Euler's identity is asked of every call: what lies deeper, in a long list or in a large
array is named by address. A walk through all of it would take longer than the pass that it saves, and end at loggers.

Example: ``model[0].padding = (1, 1)``, a new hook or another global of a lambda change it; a training step does not.

What must never happen: something near at hand changes and the fingerprint does not. So what cannot be looked at
(generators, objects that hide what they hold, attributes that raise) is :class:`_Unlike` everything, also itself at
another time; and what is named by address is handed out as well, to be kept alive: nothing else may take the address.
"""

from __future__ import annotations

import array
import functools
import sys
import threading
import types
import weakref
from collections import UserDict, UserList, deque
from collections.abc import Callable, Collection, Hashable, Iterable
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils._pytree import tree_flatten

from captum_xg._core.modules import closed_over, modules_of, names_in
from captum_xg._core.reflection import attribute, held_by, held_in, is_a, is_tensor, own_attributes, plainly

_SIMPLE = frozenset({bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size})
_STRIDED = torch.strided
_LAZY = frozenset({nn.UninitializedParameter, nn.UninitializedBuffer})
_TENSORS = frozenset({"_parameters", "_buffers"})
_BOOKKEEPING = frozenset(nn.Module().__dict__)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(
    hooks for name in _HOOKS if isinstance(hooks := getattr(torch_module, f"_global{name}", None), dict)
)
_HOLDING = (types.FunctionType, list, dict, tuple, Tensor)
_LIBRARIES = frozenset(sys.stdlib_module_names) - {"__main__", "types"} | {
    *("builtins", "torch", "numpy", "torchvision", "captum", "captum_xg")
}
"""Whose objects count by address: nobody changes them between two calls."""
_GETATTRIBUTE = object.__getattribute__
_DEPTH = 4
"""How many objects deep is looked: a module's function, its closure, a container in it, and what that holds."""
_MOST = 300
"""How many objects are looked into. A forward pass that mentions a logger or a trainer would lead through all of it."""
_LONG = 64
"""From so many entries on a container is data or a record, and no setting."""
_LARGE = 2**14
"""From so many bytes on an array is data."""


class RestsOn(Protocol):
    """A callable of this package around others of the user's, which are looked into. Classes declare it as a base."""

    @property
    def rests_on(self) -> tuple[object, ...]:
        """What the values of the callable depend on, besides its arguments."""


def fingerprint_of(
    forward_func: Callable[..., object], inputs: tuple[Tensor, ...], additional: tuple[object, ...]
) -> tuple[Hashable, list[object]]:
    """Return the fingerprint of F with arguments of this form, and the objects that it names by address.

    Additional arguments are new objects in every call: tensors, also in lists and dicts, count by their form alone.
    """
    reader = _Reader()
    leaves, structure = tree_flatten(additional)
    with plainly():
        parts: list[Hashable] = [
            tuple(map(_form, inputs)),
            *((d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in {x.device.type for x in inputs}),
            _text_of(structure),
            tuple(_form(x) if isinstance(x, Tensor) else reader.value(x) for x in leaves),
        ]
        reader.add_function(forward_func, parts)
    return tuple(parts), reader.anchors


def state_of(forward_func: Callable[..., object]) -> tuple[Hashable, list[object]]:
    """Return what the fingerprint says of F itself, whatever it is called with, and the objects named by address."""
    reader, parts = _Reader(), list[Hashable]()
    with plainly():
        reader.add_function(forward_func, parts)
    return tuple(parts), reader.anchors


class _Reader:
    """Describes values by what they hold, as deep as a forward pass can reach, and by address where that is hidden.

    Attributes:
        anchors: What was named by address.
    """

    def __init__(self) -> None:
        self.anchors: list[object] = []
        self._seen: set[int] = set()  # modules, and their classes
        self._inside: set[int] = set()
        self._left = _MOST

    def add_function(self, forward_func: Callable[..., object], parts: list[Hashable]) -> None:
        """Add the description of a forward function, the modules behind it, and what holds for all of PyTorch."""
        parts += torch.get_default_dtype(), tuple(tuple(hooks) for hooks in _GLOBAL_HOOKS), self.value(forward_func)
        for root in modules_of(forward_func):
            self.add_module(root, parts)

    def add_module(self, module: nn.Module, parts: list[Hashable]) -> None:  # noqa: PLR0912  one for each kind
        """Add the description of a module, and of the modules in it, each once."""
        # This runs at every attribution, so it counts microseconds: all modules fill one list, and nothing is called
        # for attributes that are plain.
        if id(module) in self._seen:
            return
        self._seen.add(id(module))
        self.anchors.append(module)
        attributes = module.__dict__ if type(module).__getattribute__ is _GETATTRIBUTE else own_attributes(module)
        add = parts.append
        add(id(type(module)))
        if id(type(module)) not in self._seen:
            self._seen.add(id(type(module)))
            if not _of_library(type(module)):
                add(self._class(type(module), 0))
        add(tuple(attributes))
        for name, value in attributes.items():
            kind: type = type(value)
            if kind in _SIMPLE:
                add(kind)
                add(repr(value) if kind is float else value)
            elif kind is tuple and _SIMPLE.issuperset(map(type, value)):
                add(value)
            elif name in _TENSORS:
                for tensor in value.values():
                    self.anchors.append(tensor)
                    add(None if tensor is None else _tensor_state(tensor))
            elif name == "_modules":
                for key, child in value.items():
                    parts += key, id(child)
                    if child is not None:
                        self.add_module(child, parts)
            elif name in _HOOKS:
                if value:
                    add(tuple(self.value(hook) for hook in value.values()))
            elif name not in _BOOKKEEPING:
                add(self.value(value))

    def value(self, value: Any, depth: int = 0) -> Hashable:  # noqa: PLR0911  one return for each kind
        """Return what tells a value from another."""
        kind = type(value)
        if type(value) is slice:
            return (slice, *(self.value(part, depth) for part in (value.start, value.stop, value.step)))
        if kind in _SIMPLE:
            return kind, repr(value) if kind in (float, complex) else value  # -0.0 == 0.0
        if kind is types.MethodType:  # made anew each time that it is asked for
            return self._all((value.__func__, value.__self__), depth)
        self.anchors.append(value)
        if is_tensor(value):
            return _tensor_state(value)
        self._left -= 1
        if id(value) in self._inside or depth > _DEPTH or self._left < 0:
            return id(value)
        self._inside.add(id(value))
        try:
            return id(value), self._content(value, depth + 1)
        except Exception:
            return _Unlike()  # it could not be looked at, so nobody knows whether it is what it was
        finally:
            self._inside.discard(id(value))

    def _all(self, values: Iterable[object], depth: int) -> tuple[Hashable, ...]:
        return tuple(self.value(value, depth) for value in values)

    def _content(self, value: Any, depth: int) -> Hashable:  # noqa: PLR0911, PLR0912  one return for each kind
        if is_a(value, (list, tuple, deque)):
            return self._all(_looked_into(held_in(value)), depth)
        if is_a(value, (set, frozenset)):
            return frozenset(self._all(held_in(value), depth)) if len(value) < _LONG else None
        if is_a(value, dict):
            if len(value) >= _LONG:
                return self._all(_looked_into(dict.values(value)), depth)
            return tuple(self._all(item, depth) for item in dict.items(value))
        if is_a(value, types.MappingProxyType):
            return tuple(self._all(item, depth) for item in value.items())
        if is_a(value, np.ndarray):
            if value.nbytes > _LARGE:
                return value.shape, str(value.dtype)
            whole = value.tobytes() if value.dtype != object else self._all(value.flat, depth)
            return value.shape, str(value.dtype), whole
        if is_a(value, (bytearray, array.array)):
            return bytes(value)
        if is_a(value, nn.Module):
            if id(value) in self._seen:
                return id(value)
            parts: list[Hashable] = []
            self.add_module(value, parts)
            return tuple(parts)
        if is_a(value, types.FunctionType):
            return self._function(value, depth)
        if is_a(value, functools.partial):
            return self._all((value.func, value.args, value.keywords), depth)
        if is_a(value, functools._lru_cache_wrapper):
            return self.value(value.__wrapped__, depth)
        if is_a(value, (type, types.ModuleType, types.BuiltinFunctionType)):
            return None
        if is_a(value, (UserDict, UserList)):
            return self.value(value.data, depth)
        if is_a(value, (weakref.ref, ContextVar)):
            return self.value(value() if is_a(value, weakref.ref) else value.get(None), depth)
        if is_a(value, (types.GeneratorType, threading.local)):
            return _Unlike()  # what comes next cannot be seen
        if _of_library(type(value)):
            return self._all(value.rests_on if RestsOn in type(value).__mro__ else (), depth - 1)
        held = held_by(value)
        if held is None:
            return _Unlike()  # what it holds may change without a sign
        return tuple((name, self.value(part, depth)) for name, part in held.items()), self._class(type(value), depth)

    def _class(self, kind: type, depth: int) -> Hashable:
        """Return what classes of the user's own hold: plain attributes, and what their functions refer to."""
        return tuple(
            (name, self.value(part, depth))
            for c in kind.__mro__
            if not _of_library(c)
            for name, part in vars(c).items()
            if (name[:2] != "__" or name == "__call__") and (type(part) in _SIMPLE or is_a(part, _HOLDING))
        )

    def _function(self, function: types.FunctionType, depth: int) -> Hashable:
        known, names = function.__globals__, names_in(function.__code__)
        held = (function.__defaults__, function.__kwdefaults__, function.__dict__, *closed_over(function))
        parts: list[Hashable] = list(self._all(held, depth))
        for name in names:
            if name not in known:
                continue
            referred = known[name]
            if is_a(referred, types.FunctionType) and referred.__globals__ is not known:
                self.anchors.append(referred)
                parts.append(id(referred))  # of another file: entering would walk through all of torch
            elif is_a(referred, (type, types.ModuleType)):
                if not _of_library(referred):
                    attributes = vars(referred)
                    parts.append(tuple((n, self.value(attributes[n], depth)) for n in names if n in attributes))
            else:
                parts.append(self.value(referred, depth))
        return function.__code__, tuple(parts)


def _of_library(thing: object) -> bool:
    """Return whether a class or module is Python's or a library's, which nobody changes between two calls."""
    name = attribute(thing, "__name__" if is_a(thing, types.ModuleType) else "__module__")
    return type(name) is str and name.split(".")[0] in _LIBRARIES


class _Unlike:
    """Stands for what could not be described: it equals nothing, so that no proof stands on it."""


def _text_of(structure: object) -> Hashable:
    try:
        return repr(structure)
    except Exception:  # the keys of dicts may be anything
        return _Unlike()


def _form(tensor: Tensor) -> Hashable:
    if tensor.is_nested:
        return id(tensor)
    return tensor.shape, tensor.stride() if tensor.layout is _STRIDED else 0, tensor.dtype, tensor.device


def _tensor_state(tensor: Tensor) -> Hashable:
    if type(tensor) in _LAZY or tensor.is_nested:
        return id(tensor)
    strided = tensor.layout is _STRIDED
    try:
        place = tensor.data_ptr() if strided else 0
    except RuntimeError:  # of kinds that only wrap others
        place = 0
    return (id(tensor), place, tensor.shape, tensor.stride() if strided else 0, tensor.dtype)


def _looked_into(entries: Collection[object]) -> Collection[object]:
    if len(entries) < _LONG:
        return entries
    # Of layers no list is too long.
    kinds = {kind for kind in set(map(type, entries)) if issubclass(kind, nn.Module)}
    return [part for part in entries if type(part) in kinds] if kinds else []
