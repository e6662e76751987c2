"""Lazy imports: registries that fill themselves, and packages whose parts are imported when asked for."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any


def import_files(package: str) -> None:
    """Import every file of a package, in alphabetical order; no list of them is kept by hand."""
    folder = importlib.import_module(package)
    for file in sorted(pkgutil.iter_modules(folder.__path__), key=lambda file: file.name):
        importlib.import_module(f"{package}.{file.name}")


def of_extra(module: str, needed: str, extra: str) -> Any:
    """Return a module that an extra of this package installs.

    Args:
        module: Its full name.
        needed: What needs which package, the beginning of a sentence: ``"clusters are found by scikit-learn"``.
        extra: The extra.

    Raises:
        MissingPackageError: If it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        from captum_xg.errors.base import MissingPackageError  # errors load their own parts by this file

        raise MissingPackageError(
            f"{needed}, which cannot be imported ({error}): pip install captum-xg[{extra}]."
        ) from error


def on_demand(
    package: str, names: Mapping[str, Sequence[str]] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package whose names and submodules are imported when asked for.

    A submodule must not have the name of something that another one defines: once imported, it would take its place.

    Args:
        package: Its ``__name__``.
        names: For each submodule (or module elsewhere, by its full name), what of it the package has itself.

    Source: PEP 562.
    """
    top = package.partition(".")[0]
    homes = {
        name: home if home.startswith(f"{top}.") else f"{package}.{home}"
        for home, own in (names or {}).items()
        for name in own
    }

    def get(name: str) -> Any:
        if name in homes:
            value = getattr(importlib.import_module(homes[name]), name)
            setattr(sys.modules[package], name, value)  # so that this is asked once
            return value
        if not name.startswith("_") and name.isidentifier() and find_spec(f"{package}.{name}") is not None:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])

    def listed() -> list[str]:
        module = sys.modules[package]
        inside = {file.name for file in pkgutil.iter_modules(module.__path__) if not file.name.startswith("_")}
        here = {name for name in vars(module) if name.startswith("_")} | set(vars(module).get("__all__", ()))
        return sorted(here | inside | homes.keys())

    return get, listed
