"""Things in a user's file that could be meant as the model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import get_type_hints

from torch import nn


def candidates_in(module: ModuleType) -> dict[str, str]:
    """Return name → kind of what a file defines itself and could be meant."""
    found: dict[str, str] = {}
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        own = getattr(value, "__module__", None) == module.__name__ and needs_no_arguments(value)
        if isinstance(value, nn.Module):
            found[name] = "a module"
        elif own and isinstance(value, type) and issubclass(value, nn.Module):
            found[name] = "a module class"
        elif own and inspect.isfunction(value) and name != "main" and _may_return_a_module(value):
            found[name] = "a function without arguments"
    return found


def needs_no_arguments(value: object) -> bool:
    """Return whether a value can be called without arguments."""
    try:
        inspect.signature(value).bind()  # type: ignore[arg-type]  # what is not callable raises
    except (TypeError, ValueError):
        return False
    return True


def _may_return_a_module(function: Callable[..., object]) -> bool:
    try:
        returned = get_type_hints(function).get("return", nn.Module)
    except Exception:  # annotations of names that exist for type checkers only
        return True
    return isinstance(returned, type) and issubclass(returned, nn.Module)
