"""Fingerprint of a forward function: modules, functions, and the state they refer to, up to the numbers in tensors.

A proof was made for what a forward pass could reach besides its inputs. Two fingerprints that are equal say that it can
reach the same now, so that the proof still holds for the structure; what it assumed about numbers is asked again.
Modules, tensors and objects count by address and form, settings and containers by what they hold.

Example: ``model[0].padding = (1, 1)``, a new hook, or another global that a lambda reads change the fingerprint; a step
of an optimiser does not.

What must never happen: something changes and the fingerprint does not. So what cannot be looked at (generators, objects
that hide what they hold, attributes that raise) is :class:`_Unlike` everything, also itself at another time; and what
is named by address is handed out as well, to be kept alive: nothing else may take the address.
"""

from __future__ import annotations

import array
import functools
import sys
import threading
import types
import weakref
from collections import UserDict, UserList, deque
from collections.abc import Callable, Hashable
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
_GETATTRIBUTE = object.__getattribute__
_DEPTH = 6
"""How many objects deep is looked."""


class RestsOn(Protocol):
    """A callable of this package around others of the user's, which are looked into. Classes declare it as a base.

    All other objects of libraries count as they are, by address: nobody changes them between two calls.
    """

    @property
    def rests_on(self) -> tuple[object, ...]:
        """What the values of the callable depend on, besides its arguments."""


def fingerprint_of(
    forward_func: Callable[..., Any], inputs: tuple[Tensor, ...], additional: tuple[Any, ...]
) -> tuple[Hashable, list[Any]]:
    """Return the fingerprint of F with arguments of this form, and the objects that it names by address.

    Additional arguments are new objects in every call: tensors, also in lists and dicts, count by their form alone.
    """
    anchors: list[Any] = []
    seen: set[int] = set()
    with plainly():
        return tuple(_parts_of(forward_func, inputs, additional, anchors, seen)), anchors


def _parts_of(
    forward_func: Callable[..., Any],
    inputs: tuple[Tensor, ...],
    additional: tuple[Any, ...],
    anchors: list[Any],
    seen: set[int],
) -> list[Hashable]:
    leaves, structure = tree_flatten(additional)
    parts: list[Hashable] = [
        tuple(map(_form, inputs)),
        torch.get_default_dtype(),
        tuple((d, torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in {x.device.type for x in inputs}),
        tuple(tuple(hooks) for hooks in _GLOBAL_HOOKS),
        _text_of(structure),
        tuple(_form(x) if isinstance(x, Tensor) else _named(x, anchors, seen) for x in leaves),
        _named(forward_func, anchors, seen),
    ]
    for root in modules_of(forward_func):
        if id(root) not in seen:
            _add_module(root, parts, anchors, seen)
    return parts


def _add_module(  # noqa: PLR0912  one branch for each kind of attribute
    module: nn.Module, parts: list[Hashable], anchors: list[Any], seen: set[int]
) -> None:
    # This runs at every attribution, so it counts microseconds.
    seen.add(id(module))
    anchors.append(module)
    attributes = module.__dict__ if type(module).__getattribute__ is _GETATTRIBUTE else own_attributes(module)
    add = parts.append
    add(id(type(module)))
    if id(type(module)) not in seen:
        seen.add(id(type(module)))
        if not _theirs(type(module)):
            add(_Describer(anchors, seen).of_class(type(module), 0))
    add(tuple(attributes))
    for name, value in attributes.items():
        kind: Any = type(value)
        if kind in _SIMPLE:
            add(kind)
            add(repr(value) if kind is float else value)
        elif kind is tuple and _SIMPLE.issuperset(map(type, value)):
            add(value)
        elif name in _TENSORS:
            for tensor in value.values():
                if tensor is None:
                    add(None)
                    continue
                anchors.append(tensor)
                add(_tensor_state(tensor))
        elif name == "_modules":
            for key, child in value.items():
                parts += key, id(child)
                if child is not None and id(child) not in seen:
                    _add_module(child, parts, anchors, seen)
        elif name in _HOOKS:
            if value:
                add(tuple(_named(hook, anchors, seen) for hook in value.values()))
        elif name not in _BOOKKEEPING:
            add(_named(value, anchors, seen))


def _named(value: Any, anchors: list[Any], seen: set[int]) -> Hashable:
    """Return what tells a value from another, as deep as what a forward pass can reach through it."""
    return _Describer(anchors, seen).value(value, 0)


class _Describer:
    """Describes values by what they hold, and what they are by address where that is not to be had."""

    def __init__(self, anchors: list[Any], seen: set[int]) -> None:
        self._anchors = anchors
        self._seen = seen  # modules
        self._inside: set[int] = set()

    def value(self, value: Any, depth: int) -> Hashable:
        kind = type(value)
        if kind is slice:
            return (slice, *(self.value(part, depth) for part in (value.start, value.stop, value.step)))
        if kind in _SIMPLE:
            return (kind, repr(value)) if kind in (float, complex) else (kind, value)  # -0.0 == 0.0
        self._anchors.append(value)
        if is_tensor(value):
            return _tensor_state(value)
        if id(value) in self._inside or depth > _DEPTH:
            return id(value)
        self._inside.add(id(value))
        try:
            return id(value), self._parts(value, depth + 1)
        except Exception:
            return _Unlike()  # it could not be looked at, so nobody knows whether it is what it was
        finally:
            self._inside.discard(id(value))

    def _parts(self, value: Any, depth: int) -> Hashable:  # noqa: PLR0911, PLR0912  one return for each kind of value
        if is_a(value, (list, tuple, deque)):
            return tuple(self.value(part, depth) for part in held_in(value))
        if is_a(value, (set, frozenset)):
            return frozenset(self.value(part, depth) for part in held_in(value))
        if is_a(value, dict):
            return tuple((self.value(key, depth), self.value(part, depth)) for key, part in dict.items(value))
        if is_a(value, np.ndarray):
            whole = value.tobytes() if value.dtype != object else tuple(self.value(v, depth) for v in value.flat)
            return value.shape, str(value.dtype), whole
        if is_a(value, nn.Module):
            parts: list[Hashable] = []
            if id(value) in self._seen:
                return id(value)
            _add_module(value, parts, self._anchors, self._seen)
            return tuple(parts)
        if is_a(value, types.FunctionType):
            return self._function(value, depth)
        if is_a(value, types.MethodType):
            return self.value(value.__func__, depth), self.value(value.__self__, depth)
        if is_a(value, functools.partial):
            return self.value(value.func, depth), self.value(value.args, depth), self.value(value.keywords, depth)
        if is_a(value, (type, types.ModuleType, types.BuiltinFunctionType)):
            return None
        if is_a(value, (UserDict, UserList)):
            return self.value(value.data, depth)
        if is_a(value, (bytearray, array.array)):
            return bytes(value)
        if is_a(value, types.MappingProxyType):
            return tuple((self.value(key, depth), self.value(part, depth)) for key, part in value.items())
        if is_a(value, (weakref.ref, ContextVar)):
            return self.value(value() if is_a(value, weakref.ref) else value.get(None), depth)
        if is_a(value, (types.GeneratorType, threading.local)):
            return _Unlike()  # what comes next cannot be seen
        if is_a(value, functools._lru_cache_wrapper):
            return self.value(value.__wrapped__, depth)
        if _theirs(type(value)):
            rests_on = value.rests_on if RestsOn in type(value).__mro__ else ()
            return tuple(self.value(part, depth - 1) for part in rests_on)
        held = held_by(value)
        if held is None:
            return _Unlike()  # what it holds may change without a sign
        own = tuple((name, self.value(part, depth)) for name, part in held.items())
        return own, self.of_class(type(value), depth)

    def of_class(self, kind: type, depth: int) -> Hashable:
        """Return what classes of the user's own hold: plain attributes, and what their functions refer to."""
        return tuple(
            (name, self.value(part, depth))
            for c in kind.__mro__
            if not _theirs(c)
            for name, part in vars(c).items()
            if (name[:2] != "__" or name == "__call__") and (type(part) in _SIMPLE or is_a(part, _HOLDING))
        )

    def _function(self, function: types.FunctionType, depth: int) -> Hashable:
        code, known = function.__code__, function.__globals__
        names = names_in(code)
        parts = [self.value(p, depth) for p in (function.__defaults__, function.__kwdefaults__, function.__dict__)]
        parts += [self.value(p, depth) for p in closed_over(function)]
        for name in names:
            if name not in known:
                continue
            referred = known[name]
            if is_a(referred, types.FunctionType) and referred.__globals__ is not known:
                self._anchors.append(referred)
                parts.append(id(referred))  # of another file: entering would walk through all of torch
            elif is_a(referred, (type, types.ModuleType)):
                if not _theirs(referred):
                    held = vars(referred)
                    parts.append(tuple((n, self.value(held[n], depth)) for n in names if n in held))
            else:
                parts.append(self.value(referred, depth))
        return code, tuple(parts)


def _theirs(thing: Any) -> bool:
    """Return whether a class or module is Python's or a library's, which nobody changes between two calls."""
    name = attribute(thing, "__name__" if is_a(thing, types.ModuleType) else "__module__")
    return type(name) is str and name.split(".")[0] in _LIBRARIES


class _Unlike:
    """Stands for what could not be described: it equals nothing, so that no proof stands on it."""


def _text_of(structure: Any) -> Hashable:
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
