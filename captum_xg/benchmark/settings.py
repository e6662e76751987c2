"""What results depend on, as text that can be compared with that of another day."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from captum_xg._core.digest import digest_of
from captum_xg._core.modules import closed_over
from captum_xg.benchmark.data import digest_of_tensors

_DEPTH = 6
_SIMPLE = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


def described(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911  one return for each kind of value
    """Return numbers and text that differ where two values would give different results, and no addresses.

    Functions by name, code and what they hold; tensors and modules by their numbers; other objects by class and
    attributes, some levels deep. What a function reads from files or elsewhere is not seen.
    """
    if isinstance(value, _SIMPLE):
        return value if isinstance(value, (bool, int, float, str, type(None))) else repr(value)
    if depth > _DEPTH:
        return f"a {_name(type(value))}"
    if isinstance(value, Tensor):
        return f"tensor {digest_of_tensors(value)[:16]}"
    if isinstance(value, Metric):
        return _metric(value, depth)
    if isinstance(value, nn.Module):
        return f"{_name(type(value))} {digest_of(value)[:16]}"
    if isinstance(value, (list, tuple)):
        return [described(part, depth + 1) for part in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(described(part, depth + 1)) for part in value)
    if isinstance(value, dict):
        return {str(key): described(part, depth + 1) for key, part in value.items()}
    if isinstance(value, functools.partial):
        return ["partial", *(described(part, depth + 1) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, types.MethodType):
        return [value.__func__.__qualname__, described(value.__self__, depth + 1)]
    if isinstance(value, types.FunctionType):
        return _function(value, depth)
    if isinstance(value, (type, types.BuiltinFunctionType, types.ModuleType)):
        return _name(value)
    attributes = {**getattr(value, "__dict__", {}), **_slots(value)}
    return [_name(type(value)), {name: described(part, depth + 1) for name, part in sorted(attributes.items())}]


def of_model(forward_func: Callable[..., Any]) -> str:
    """Return the fingerprint of a model's weights, buffers and settings, and of the code of a function around it."""
    code = described(forward_func) if isinstance(forward_func, (types.FunctionType, functools.partial)) else ""
    return hashlib.sha256(f"{digest_of(forward_func)}{code}".encode()).hexdigest()


def _metric(metric: Metric, depth: int) -> Any:
    """Describe a metric without what it has accumulated and what torchmetrics keeps for itself."""
    bookkeeping = {*vars(_Plain()), *metric._defaults, "_modules", "_parameters", "_buffers"}
    own = {name: part for name, part in vars(metric).items() if name not in bookkeeping}
    parts = {**own, **metric._modules, **metric._buffers}
    return [_name(type(metric)), {name: described(part, depth + 1) for name, part in sorted(parts.items())}]


class _Plain(Metric):
    def update(self) -> None: ...

    def compute(self) -> None: ...


def _function(function: types.FunctionType, depth: int) -> Any:
    held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *closed_over(function)]
    modules = digest_of(function)[:16]
    return [_name(function), _code(function.__code__), modules, [described(part, depth + 1) for part in held]]


def _code(code: types.CodeType) -> str:
    digest = hashlib.sha256(code.co_code)
    for constant in code.co_consts:
        inner = _code(constant) if isinstance(constant, types.CodeType) else repr(constant)
        digest.update(inner.encode())
    digest.update(repr(code.co_names).encode())
    return digest.hexdigest()[:16]


def _slots(value: Any) -> dict[str, Any]:
    names = [name for c in type(value).__mro__ for name in _as_tuple(vars(c).get("__slots__", ()))]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _as_tuple(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', getattr(thing, '__name__', '?'))}"
