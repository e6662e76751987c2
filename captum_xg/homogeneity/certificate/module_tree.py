"""Modules under one or several roots, described by what they hold, and a quick look whether they hold it still.

A fingerprint is made at every attribution, and most of it is the description of modules that nobody has touched. So a
tree remembers the objects behind its description: while every attribute of every module *is* the object that it was,
the description is that of before. What identity says nothing of, lists, functions and objects of a user's class, is
:attr:`ModuleTree.deeper`, and read anew each time.

Example: ``model[0].padding = (1, 1)`` puts another tuple there. ``model.weights[0] = 2.0`` leaves the list what it is:
it belongs to what is read anew.

What must never happen: :meth:`ModuleTree.unchanged` is True and the description would be another one.
"""

from __future__ import annotations

import sys
import types
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Mapping
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg._core.reflection import attribute, is_a, own_attributes

SIMPLE = frozenset({bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size})
"""Types whose values are told apart by what they are."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_LIBRARIES = frozenset(sys.stdlib_module_names) - {"__main__", "types"} | {
    *("builtins", "torch", "numpy", "torchvision", "captum", "captum_xg")
}
"""Whose objects count by address: nobody changes them between two calls."""
_LAZY = frozenset({nn.UninitializedParameter, nn.UninitializedBuffer})
_TENSORS = frozenset({"_parameters", "_buffers"})
_INNER = frozenset({*_TENSORS, "_modules", *HOOKS})
_BOOKKEEPING = frozenset(nn.Module().__dict__)
_GETATTRIBUTE = object.__getattribute__


class Unlike:
    """Stands for what could not be described: it equals nothing, so that no proof stands on it."""


class Description:
    """Values in their order, equal to others of the same values, whose hash is computed once."""

    __slots__ = ("_hash", "_parts")

    def __init__(self, parts: Iterable[Hashable]) -> None:
        self._parts = tuple(parts)
        self._hash = hash(self._parts)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Description) and self._parts == other._parts)

    def __hash__(self) -> int:
        return self._hash


class ModuleTree:
    """The modules under some roots as they are now.

    Args:
        roots: The modules to begin with.
        seen: Ids of modules and classes that are described elsewhere.

    Attributes:
        description: Their classes, attributes and tensors; numbers in tensors are left out.
        deeper: What has to be read each time: (value, whether its description is that of a class).
        seen: Ids of the modules, and of their classes.
        anchors: What the description names by address.
    """

    def __init__(self, roots: Collection[nn.Module], seen: Collection[int] = ()) -> None:
        self.deeper: list[tuple[Any, bool]] = []
        self.seen: set[int] = set(seen)
        self.anchors: list[object] = []
        self._roots = list(roots)
        self._modules: list[nn.Module] = []
        self._classes: list[type] = []
        self._attributes: list[Mapping[str, Any]] = []
        self._held: list[tuple[Mapping[str, Any], list[str], list[Any]]] = []
        self._empty: list[Mapping[str, Any]] = []
        self._tensors: list[Tensor] = []
        self._states: list[Hashable] = []
        self._quick = True
        parts: list[Hashable] = []
        try:
            for root in roots:
                self._add(root, parts)
        except Exception:  # modules that are none of Python's, such as scripts
            parts.append(Unlike())
            self._quick = False
        self.description = Description(parts)

    def unchanged(self, roots: Collection[nn.Module]) -> bool:
        """Return whether these are the roots, and all of the description is as it was."""
        return (
            self._quick
            and len(roots) == len(self._roots)
            and all(map(is_, roots, self._roots))
            and all(map(is_, map(type, self._modules), self._classes))
            and all(module.__dict__ is held for module, held in zip(self._modules, self._attributes, strict=True))
            and not any(self._empty)
            # By identity: comparing values would run code of foreign classes, and 1 == True.
            and all(list(held) == names and all(map(is_, held.values(), values)) for held, names, values in self._held)
            and list(map(tensor_state, self._tensors)) == self._states
        )

    def _hold(self, held: Mapping[str, Any]) -> None:
        if type(held) not in (dict, OrderedDict):
            self._quick = False
        elif held:
            self._held.append((held, list(held), list(held.values())))
        else:  # as most of a module's hooks are
            self._empty.append(held)

    def _add(self, module: nn.Module, parts: list[Hashable]) -> None:
        """Add the description of a module, and of the modules in it, each once."""
        if id(module) in self.seen:
            return
        self.seen.add(id(module))
        self.anchors.append(module)
        kind = type(module)
        self._modules.append(module)
        self._classes.append(kind)
        if kind.__getattribute__ is _GETATTRIBUTE:
            attributes: Mapping[str, Any] = module.__dict__
            self._hold(attributes)
        else:
            attributes = own_attributes(module)
            self._quick = False
        self._attributes.append(attributes)
        parts.append(id(kind))
        if id(kind) not in self.seen:
            self.seen.add(id(kind))
            if not of_library(kind):
                self.deeper.append((kind, True))
        parts.append(tuple(attributes))
        for name, value in attributes.items():
            self._add_attribute(name, value, parts)

    def _add_attribute(self, name: str, value: Any, parts: list[Hashable]) -> None:
        kind: type = type(value)
        if kind in SIMPLE:
            parts += kind, repr(value) if kind in (float, complex) else value  # -0.0 == 0.0
        elif kind is tuple and SIMPLE.issuperset(map(type, value)):
            parts.append(value)
        elif name in _INNER:
            self._hold(value)
            if name in _TENSORS:
                for tensor in value.values():
                    self.anchors.append(tensor)
                    state = None if tensor is None else tensor_state(tensor)
                    if tensor is not None:
                        self._tensors.append(tensor)
                        self._states.append(state)
                    parts.append(state)
            elif name == "_modules":
                for key, child in value.items():
                    parts += key, id(child)
                    if child is not None:
                        self._add(child, parts)
            else:
                parts.append(len(value))
                self.deeper += ((hook, False) for hook in value.values())
        elif name not in _BOOKKEEPING:
            parts.append(ModuleTree)  # stands for what follows the description
            self.deeper.append((value, False))


def tensor_state(tensor: Tensor) -> Hashable:
    """Return which tensor it is and where its numbers are, not what they are."""
    if type(tensor) in _LAZY or tensor.is_nested:
        return id(tensor)
    strided = tensor.layout is torch.strided
    try:
        place = tensor.data_ptr() if strided else 0
    except RuntimeError:  # of kinds that only wrap others
        place = 0
    return (id(tensor), place, tensor.shape, tensor.stride() if strided else 0, tensor.dtype)


def of_library(thing: object) -> bool:
    """Return whether a class or module is Python's or a library's, which nobody changes between two calls."""
    name = attribute(thing, "__name__" if is_a(thing, types.ModuleType) else "__module__")
    return type(name) is str and name.split(".")[0] in _LIBRARIES
