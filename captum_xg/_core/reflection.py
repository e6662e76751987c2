"""Safe reads of foreign objects, which may raise anything when their attributes or contents are read.

Attributes, properties, ``__class__``, ``__repr__`` and iteration may all run foreign code: proxies that are not
connected, configurations that raise KeyError for what they lack, endless recursion. What cannot be looked at counts as
not there; a caller that must not conclude anything from that passes a default of its own.

Example: ``attribute(proxy, "training")`` is None where ``proxy.training`` raises. ``held_by(proxy)`` is None, not
``{}``, if its ``__dict__`` is hidden: the fingerprint must tell "holds nothing" from "nobody knows".

What must never happen: looking at a model raises, or changes it. So every exception is caught, what an object holds is
read past its ``__getattr__``, and what a container holds past the methods of its subclass.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

plainly = torch._C.DisableTorchFunctionSubclass
"""Within it, subclasses of tensors are looked at without their own ``__torch_function__``."""

unwatched = torch._C.DisableTorchFunction
"""Within it, no function mode, a certificate's among them, sees what is done: for who counts and changes nothing."""


def is_a(value: object, kinds: type | tuple[type, ...]) -> bool:
    """Return whether a value is an instance; False if it does not say so."""
    try:
        return isinstance(value, kinds)
    except Exception:  # a proxy's __class__ is a property
        return False


def attribute(owner: object, name: str, default: Any = None) -> Any:
    """Return an attribute, the default if there is none or reading it raises."""
    try:
        return getattr(owner, name, default)
    except Exception:
        return default


def is_tensor(value: object) -> bool:
    """Return whether a value really is a tensor, and does not only say so, as mocks do."""
    return issubclass(type(value), Tensor)


def own_attributes(owner: object) -> Mapping[str, Any]:
    """Return the attributes that an object itself holds, past its ``__getattr__``; none if they are hidden."""
    return held_by(owner) or {}


def held_by(owner: object) -> Mapping[str, Any] | None:
    """Return the attributes and slots that an object itself holds, None if they are hidden behind code of its own."""
    held: Mapping[str, object] = {}
    # Not by hasattr, which asks the object: whether there is a __dict__ is up to the type.
    if _HAS_DICT.__get__(type(owner)):
        try:
            found = object.__getattribute__(owner, "__dict__")
        except Exception:
            return None
        if type(found) is not dict:
            return None  # a property of that name
        held = found
    slots = {name: slot for kind in type(owner).__mro__ for name, slot in _slots_of(kind)}
    return {**held, **{name: _content(slot, owner) for name, slot in slots.items()}} if slots else held


_HAS_DICT = type.__dict__["__dictoffset__"]


def _slots_of(kind: type) -> list[tuple[str, types.MemberDescriptorType]]:
    declared = kind.__dict__.get("__slots__", ())
    if not declared:
        return []
    names = (declared,) if isinstance(declared, str) else tuple(declared)
    # Names with two underscores are mangled by the class that declares them.
    private = f"_{kind.__name__.lstrip('_')}"
    found = ((name, kind.__dict__.get(f"{private}{name}" if name[:2] == "__" else name)) for name in names)
    return [(name, slot) for name, slot in found if type(slot) is types.MemberDescriptorType]


def _content(slot: types.MemberDescriptorType, owner: object) -> object:
    try:
        return slot.__get__(owner)
    except AttributeError:  # not set
        return None


def held_in(value: Any) -> list[Any]:
    """Return what a list, tuple, set, deque or dict (its values) holds, past what a subclass makes of it."""
    for kind in (list, tuple, set, frozenset, deque):
        if issubclass(type(value), kind):
            return list(kind.__iter__(value))
    return list(dict.values(value)) if issubclass(type(value), dict) else []


def shown(value: object) -> str:
    """Return ``repr()`` of a value, its type's name if it has none."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def submodules(root: Any) -> list[tuple[str, nn.Module]]:
    """Return the path of every module under one, itself included, each once."""
    try:
        return list(root.named_modules())
    except Exception:  # one of its own, or of a module that was never initialised
        return [("", root)]


def tensors_of(module: nn.Module) -> list[tuple[str, str, Any]]:
    """Return (kind, name, tensor) of the parameters and buffers that a module itself holds, None for those not set."""
    return [
        (kind, name, tensor)
        for kind, held in (
            ("parameter", attribute(module, "_parameters")),
            ("buffer", attribute(module, "_buffers")),
        )
        for name, tensor in ([] if held is None else held.items())
    ]
