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
(generators, objects that hide what they hold, attributes that raise) is :class:`Unlike` everything, also itself at
another time; and what is named by address is handed out as well, to be kept alive: nothing else may take the address.
"""

from __future__ import annotations

import array
import functools
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
from captum_xg._core.reflection import held_by, held_in, is_a, is_tensor, plainly
from captum_xg.homogeneity.certificate.module_tree import HOOKS, SIMPLE, ModuleTree, Unlike, of_library, tensor_state

_GLOBAL_HOOKS = tuple(
    hooks for name in HOOKS if isinstance(hooks := getattr(torch_module, f"_global{name}", None), dict)
)
_HOLDING = (types.FunctionType, list, dict, tuple, Tensor)
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
    forward_func: Callable[..., object],
    inputs: tuple[Tensor, ...],
    additional: tuple[object, ...],
    earlier: ModuleTree | None = None,
) -> tuple[Hashable, list[object], ModuleTree]:
    """Return the fingerprint of F with arguments of this form, the objects that it names by address, and its modules.

    Additional arguments are new objects in every call: tensors, also in lists and dicts, count by their form alone.

    Args:
        forward_func: F.
        inputs: x.
        additional: What follows in a call.
        earlier: The modules of an earlier fingerprint, which are not described again if they are what they were.
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
        tree = reader.add_function(forward_func, parts, earlier)
    return tuple(parts), reader.anchors, tree


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

    def add_function(
        self, forward_func: Callable[..., object], parts: list[Hashable], earlier: ModuleTree | None = None
    ) -> ModuleTree:
        """Add the description of a forward function, the modules behind it, and what holds for all of PyTorch."""
        roots = modules_of(forward_func)
        tree = earlier if earlier is not None and earlier.unchanged(roots) else ModuleTree(roots)
        self._seen.update(tree.seen)
        self.anchors += tree.anchors
        parts += torch.get_default_dtype(), tuple(tuple(hooks) for hooks in _GLOBAL_HOOKS), tree.description
        parts.append(self.value(forward_func))
        parts += (self._class(part, 0) if of_class else self.value(part) for part, of_class in tree.deeper)
        return tree

    def value(self, value: Any, depth: int = 0) -> Hashable:  # noqa: PLR0911  one return for each kind
        """Return what tells a value from another."""
        kind = type(value)
        if type(value) is slice:
            return (slice, *(self.value(part, depth) for part in (value.start, value.stop, value.step)))
        if kind in SIMPLE:
            return kind, repr(value) if kind in (float, complex) else value  # -0.0 == 0.0
        if kind is types.MethodType:  # made anew each time that it is asked for
            return self._all((value.__func__, value.__self__), depth)
        self.anchors.append(value)
        if is_tensor(value):
            return tensor_state(value)
        self._left -= 1
        if id(value) in self._inside or depth > _DEPTH or self._left < 0:
            return id(value)
        self._inside.add(id(value))
        try:
            return id(value), self._content(value, depth + 1)
        except Exception:
            return Unlike()  # it could not be looked at, so nobody knows whether it is what it was
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
            tree = ModuleTree([value], self._seen)
            self._seen.update(tree.seen)
            self.anchors += tree.anchors
            deeper = (self._class(part, depth) if of_class else self.value(part) for part, of_class in tree.deeper)
            return (tree.description, *deeper)
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
            return Unlike()  # what comes next cannot be seen
        if of_library(type(value)):
            return self._all(value.rests_on if RestsOn in type(value).__mro__ else (), depth - 1)
        held = held_by(value)
        if held is None:
            return Unlike()  # what it holds may change without a sign
        return tuple((name, self.value(part, depth)) for name, part in held.items()), self._class(type(value), depth)

    def _class(self, kind: type, depth: int) -> Hashable:
        """Return what classes of the user's own hold: plain attributes, and what their functions refer to."""
        return tuple(
            (name, self.value(part, depth))
            for c in kind.__mro__
            if not of_library(c)
            for name, part in vars(c).items()
            if (name[:2] != "__" or name == "__call__") and (type(part) in SIMPLE or is_a(part, _HOLDING))
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
                if not of_library(referred):
                    attributes = vars(referred)
                    parts.append(tuple((n, self.value(attributes[n], depth)) for n in names if n in attributes))
            else:
                parts.append(self.value(referred, depth))
        return function.__code__, tuple(parts)


def _text_of(structure: object) -> Hashable:
    try:
        return repr(structure)
    except Exception:  # the keys of dicts may be anything
        return Unlike()


def _form(tensor: Tensor) -> Hashable:
    if tensor.is_nested:
        return id(tensor)
    return tensor.shape, tensor.stride() if tensor.layout is torch.strided else 0, tensor.dtype, tensor.device


def _looked_into(entries: Collection[object]) -> Collection[object]:
    if len(entries) < _LONG:
        return entries
    # Of layers no list is too long.
    kinds = {kind for kind in set(map(type, entries)) if issubclass(kind, nn.Module)}
    return [part for part in entries if type(part) in kinds] if kinds else []
