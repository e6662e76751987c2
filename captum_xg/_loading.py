"""Registries fill themselves: every file of a package of rules is imported, and none is kept in a list by hand."""

from __future__ import annotations

import importlib
import pkgutil


def import_files(package: str) -> None:
    """Import every file of a package, in alphabetical order."""
    folder = importlib.import_module(package)
    for file in sorted(pkgutil.iter_modules(folder.__path__), key=lambda file: file.name):
        importlib.import_module(f"{package}.{file.name}")
