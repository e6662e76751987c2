"""The code of a model, and what it refers to, as text that is the same in the next process.

Weights and settings say which numbers a model has, and not what it does with them: an edited ``forward``, a new hook,
another global or closed-over number make another model of them. Described are functions by what they do (no paths, line
numbers or addresses), with their defaults, closures and the globals that they load; classes by their functions and
plain attributes; objects by the attributes that their code mentions. Python's and libraries' own count by name.

Each entry has a path as its key, such as ``F.__call__ global SCALE``, so that what changes by being called (counters,
caches) can be told from what was set: see :func:`digest_of_code`. What cannot be described is so by its type's name;
that the outputs are still those that were kept is asked as well when a run goes on.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from captum_xg._core.contents import bytes_of, parts_of
from captum_xg._core.modules import closed_over, loaded_globals, names_in
from captum_xg._core.reflection import attribute, held_by, held_in, is_a, is_tensor, own_attributes, plainly, submodules
from captum_xg.homogeneity.certificate.fingerprint import RestsOn
from captum_xg.homogeneity.certificate.module_tree import HOOKS, SIMPLE, of_library

_DEPTH = 6
"""How deep containers are looked into."""
_LONG = 2**16
"""From so many entries on the rest of a container counts by its number alone."""
_MOST = 20_000
"""How many functions, classes and objects are looked into."""
_MADE = 1 << 9
"""Of the flags of a class: it was made by a class statement (Py_TPFLAGS_HEAPTYPE)."""
_BOOKKEEPING = frozenset(nn.Module().__dict__)
_PLAIN = (int, float, complex, str, bytes, type(None))
_OTHERS = frozenset({range, type(...), type(NotImplemented)})


def code_of(forward_func: Callable[..., object]) -> dict[str, str]:
    """Return path → description of all code behind a forward function, and of what it refers to."""
    reader = _Reader()
    with plainly():
        reader.begin(forward_func)
    return reader.found


def digest_of_code(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return a SHA-256 of what stayed as it was while the model was called: not of its counters and caches."""
    kept = {path: text for path, text in after.items() if before.get(path, text) == text}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


class _Reader:
    """Goes from a function through all that it refers to, in breadth, each thing once.

    Attributes:
        found: Path → description.
    """

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._paths: dict[int, str] = {}
        self._alive: list[object] = []  # nothing else may take an address in _paths
        self._waiting: deque[Callable[[], None]] = deque()

    def begin(self, forward_func: Callable[..., object]) -> None:
        """Describe a function, and all that it leads to."""
        self.found["F"] = self._text(forward_func, "F", ())
        for name in HOOKS:
            hooks = attribute(torch_module, f"_global{name}", {})
            self._add(f"every module {name}", list(hooks.values()), ())
        while self._waiting:
            self._waiting.popleft()()

    def _add(self, path: str, value: object, names: Iterable[str]) -> None:
        self.found[path] = self._text(value, path, names)

    def _once(self, value: object, path: str, look: Callable[[], None]) -> str:
        """Return what stands for a thing that is looked into at its turn."""
        if id(value) in self._paths:
            return f"see {self._paths[id(value)]}"
        if len(self._paths) >= _MOST:
            return _name(type(value))
        self._paths[id(value)] = path
        self._alive.append(value)
        self._waiting.append(look)
        return f"a {_name(type(value))}"

    def _text(  # noqa: PLR0911, PLR0912  one return for each kind
        self, value: Any, path: str, names: Iterable[str], depth: int = 0
    ) -> str:
        kind = type(value)
        if kind in SIMPLE or kind in _OTHERS:
            return f"{kind.__name__} {value!r}"
        if is_tensor(value):
            return f"{_name(kind)} {_numbers(value)}"
        if depth > _DEPTH:
            return _name(kind)
        if is_a(value, Enum):
            return f"{_name(kind)}.{value.name}"
        if kind is slice:
            return self._text((value.start, value.stop, value.step), path, names, depth + 1)
        if is_a(value, (np.ndarray, np.generic)):
            numbers = b"" if value.dtype.hasobject else value.tobytes()
            return f"{_name(kind)} {value.dtype}{value.shape} {hashlib.sha256(numbers).hexdigest()}"
        if is_a(value, (list, tuple, set, frozenset, deque, dict)):
            return self._container(value, path, names, depth)
        if kind is types.MethodType:
            mentioned = names_in(value.__func__.__code__) if is_a(value.__func__, types.FunctionType) else ()
            parts = (value.__func__, value.__self__)
            return f"method {self._each(parts, path, (*names, *mentioned), depth)}"
        if is_a(value, functools.partial):
            return f"partial {self._each((value.func, value.args, value.keywords), path, names, depth)}"
        if kind is types.FunctionType:
            return f"{_name(value)}: {self._once(value, path, lambda: self._function(value, path))}"
        if is_a(value, (staticmethod, classmethod, functools._lru_cache_wrapper)):
            return f"{_name(kind)} {self._text(value.__wrapped__, path, names, depth + 1)}"
        if is_a(value, property):
            return f"property {self._each((value.fget, value.fset), path, names, depth)}"
        if is_a(value, functools.cached_property):
            return f"property {self._text(value.func, path, names, depth + 1)}"
        if is_a(value, type):
            own = [c for c in type.mro(value) if not _library(c)]
            return f"{_name(value)} {[self._once(c, _name(c), functools.partial(self._class, c)) for c in own]}"
        if is_a(value, (types.ModuleType, types.BuiltinFunctionType)):
            return _name(value)
        if is_a(value, nn.Module):
            return self._once(value, path, lambda: self._tree(value, path))
        if is_a(value, (types.SimpleNamespace, argparse.Namespace)):
            return self._text(vars(value), path, names, depth + 1)
        if RestsOn in kind.__mro__:
            return f"{_name(kind)} {self._each(value.rests_on, path, names, depth)}"
        if _library(kind):
            return _name(kind)
        return self._once(value, path, lambda: self._object(value, path, names))

    def _each(self, parts: Iterable[object], path: str, names: Iterable[str], depth: int) -> str:
        return "; ".join(self._text(part, f"{path}[{i}]", names, depth + 1) for i, part in enumerate(parts))

    def _container(self, value: Any, path: str, names: Iterable[str], depth: int) -> str:
        head = f"{_name(type(value))} of {len(value)}: "
        if is_a(value, (set, frozenset)):  # their order is that of addresses and of the process
            return head + "; ".join(sorted(self._text(part, path, names, depth + 1) for part in held_in(value)))
        if not is_a(value, dict):
            return head + self._each(held_in(value)[:_LONG], path, names, depth)
        items = list(dict.items(value))[:_LONG]
        keys = [self._text(key, path, names, depth + 1) for key, _ in items]
        parts = [
            self._text(part, f"{path}[{key}]", names, depth + 1) for key, (_, part) in zip(keys, items, strict=True)
        ]
        return head + "; ".join(map(" → ".join, zip(keys, parts, strict=True)))

    def _function(self, function: types.FunctionType, path: str) -> None:
        names = names_in(function.__code__)
        library = _of_library(function)
        self.found[path] = _name(function) if library else f"{_name(function)} {_code(function.__code__)}"
        self._add(f"{path} defaults", (function.__defaults__, function.__kwdefaults__), names)
        self._add(f"{path} attributes", function.__dict__, names)
        for i, held in enumerate(closed_over(function)):
            self._add(f"{path} closure {i}", held, names)
        if library:  # from there it would go on through all of it
            return
        known = function.__globals__
        for name in sorted(set(loaded_globals(function.__code__)) & known.keys()):
            self._add(f"{path} global {name}", known[name], names)
            if is_a(known[name], types.ModuleType):
                self._module(known[name], f"{path} global {name}", names, 0)

    def _module(self, module: types.ModuleType, path: str, names: Iterable[str], depth: int) -> None:
        """Describe what code mentions of a module of the user's own."""
        if of_library(module) or depth > _DEPTH:
            return
        for name in sorted(set(names) & vars(module).keys()):
            self._add(f"{path}.{name}", part := vars(module)[name], names)
            if is_a(part, types.ModuleType):
                self._module(part, f"{path}.{name}", names, depth + 1)

    def _class(self, kind: type) -> None:
        code = (types.FunctionType, staticmethod, classmethod, property)
        for name, part in sorted(vars(kind).items()):
            if (name[:2] != "__" or is_a(part, code)) and name[:10] != "__annotate":
                self._add(f"{_name(kind)}.{name}", part, ())

    def _object(self, value: object, path: str, names: Iterable[str]) -> None:
        """Describe an object by its class and by those of its attributes that code mentions."""
        self._add(f"{path} class", type(value), ())
        held = held_by(value) or {}
        for name in sorted(_mentioned(type(value), names) & held.keys()):
            self._add(f"{path}.{name}", held[name], names)

    def _tree(self, root: nn.Module, path: str) -> None:
        """Describe the modules under one by class, hooks, and what the digest of their numbers leaves out."""
        for below, module in submodules(root):
            own = f"{path} {below}" if below else path
            if module is not root and self._paths.setdefault(id(module), own) != own:
                continue
            self._add(f"{own} class", type(module), ())
            if is_a(module, torch.jit.ScriptModule):
                self.found[f"{own} code"] = str(attribute(module, "code"))
            for name, value in own_attributes(module).items():
                if name in HOOKS:
                    self._add(f"{own} {name}", list(value.values()), ())
                elif name not in _BOOKKEEPING and not is_a(value, _PLAIN):  # plain ones are settings
                    self._add(f"{own}.{name}", value, ())


def _mentioned(kind: type, names: Iterable[str]) -> set[str]:
    """Return names, and those that functions of a class mention which can be reached by them."""
    own = {name: part for c in reversed(kind.__mro__) if not _library(c) for name, part in vars(c).items()}
    found, waiting = set(names), [*names, *(name for name in own if name[:2] == "__" and name != "__init__")]
    while waiting:
        part: Any = own.get(waiting.pop())
        function = part.fget if is_a(part, property) else attribute(part, "__func__", part)
        further = set(names_in(function.__code__)) - found if is_a(function, types.FunctionType) else set()
        found |= further
        waiting += further
    return found


def _library(kind: type) -> bool:
    # Code that was executed without a name for its module makes classes of "builtins".
    return of_library(kind) and not (kind.__module__ == "builtins" and kind.__flags__ & _MADE)


def _of_library(function: types.FunctionType) -> bool:
    # By where its code is: decorators give what they return the name of what they wrap.
    return of_library(function) and str(function.__globals__.get("__name__")) == function.__module__


def _code(code: types.CodeType) -> str:
    """Return a digest of what code does, the same for every process of one version of Python."""
    digest = hashlib.sha256(code.co_code + getattr(code, "co_exceptiontable", b""))
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    digest.update(repr((counts, arguments, code.co_names, code.co_freevars)).encode())
    for constant in code.co_consts:
        digest.update(f"|{_constant(constant)}".encode())
    return digest.hexdigest()


def _constant(value: object) -> str:
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_constant, value)))}}}"
    return repr(value)


def _numbers(tensor: Tensor) -> str:
    digest = hashlib.sha256()
    for part in parts_of(tensor) or ():
        digest.update(f"{part.dtype}{tuple(part.shape)}".encode() + bytes_of(part))
    return digest.hexdigest()


def _name(thing: object) -> str:
    name = attribute(thing, "__qualname__", None) or attribute(thing, "__name__", "?")
    return f"{attribute(thing, '__module__', '')}.{name}"
