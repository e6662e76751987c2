"""Descriptions of models, methods and metrics as text, to be compared with those of another day.

The invariant: two values that may give different results have different descriptions, and no description holds an
address, which the next process would not have. What a function reads from files or elsewhere is not seen.
"""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from captum_xg._core.digest import digest_of
from captum_xg._core.modules import closed_over
from captum_xg._core.reflection import own_attributes
from captum_xg.benchmark.data import digest_of_tensors
from captum_xg.metrics.fingerprint import settings_of

_DEPTH = 6
_SIMPLE = (bool, int, float, complex, str, type(None), torch.dtype, torch.device)


def described(value: object, depth: int = 0) -> object:
    """Return numbers and text that differ where two values would give different results, and no addresses.

    Functions by name, code and what they hold; tensors and modules by their numbers; other objects by class and what
    they say that a copy needs (``__reduce__``; remembered proofs are not part of it), else by their attributes; some
    levels deep.
    """
    if isinstance(value, _SIMPLE):
        return value if isinstance(value, (bool, int, float, str, type(None))) else repr(value)
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()[:16]
    if depth > _DEPTH:
        return f"a {_name(type(value))}"
    if isinstance(value, Metric):
        # Not what it has accumulated: a benchmark uses its scores alone.
        parts = sorted(settings_of(value).items())
        return [_name(type(value)), {name: described(part, depth + 1) for name, part in parts}]
    if isinstance(value, (Tensor, nn.Module)):
        digest = digest_of_tensors(value) if isinstance(value, Tensor) else digest_of(value)
        return f"{_name(type(value))} {digest[:16]}"
    return _callable(value, depth) if callable(value) else _object(value, depth)


def _callable(value: Callable[..., object], depth: int) -> object:
    if isinstance(value, functools.partial):
        return ["partial", *(described(part, depth + 1) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, types.MethodType):
        return [value.__func__.__qualname__, described(value.__self__, depth + 1)]
    if isinstance(value, types.FunctionType):
        held = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *closed_over(value)]
        modules = digest_of(value)[:16]
        return [_name(value), _code(value.__code__), modules, [described(part, depth + 1) for part in held]]
    if isinstance(value, (type, types.BuiltinFunctionType)):
        return _name(value)
    return _object(value, depth)


def _object(value: object, depth: int) -> object:
    if isinstance(value, types.ModuleType):
        return _name(value)
    if isinstance(value, (list, tuple)):
        return [described(part, depth + 1) for part in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(described(part, depth + 1)) for part in value)
    if isinstance(value, dict):
        return {str(key): described(part, depth + 1) for key, part in value.items()}
    if type(value).__reduce__ is not object.__reduce__:
        with suppress(Exception):  # not everything that has it can be copied
            return [_name(type(value)), described(value.__reduce__()[1:], depth + 1)]
    parts = sorted(own_attributes(value).items())
    return [_name(type(value)), {name: described(part, depth + 1) for name, part in parts}]


def of_model(forward_func: Callable[..., object]) -> str:
    """Return the fingerprint of a model's weights, buffers and settings, and of the code of a function around it."""
    code = described(forward_func) if isinstance(forward_func, (types.FunctionType, functools.partial)) else ""
    return hashlib.sha256(f"{digest_of(forward_func)}{code}".encode()).hexdigest()


def _code(code: types.CodeType) -> str:
    digest = hashlib.sha256(code.co_code)
    for constant in code.co_consts:
        inner = _code(constant) if isinstance(constant, types.CodeType) else repr(constant)
        digest.update(inner.encode())
    digest.update(repr(code.co_names).encode())
    return digest.hexdigest()[:16]


def _name(thing: object) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', getattr(thing, '__name__', '?'))}"
