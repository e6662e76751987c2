"""Imports of packages that not everybody has, with an error that says what to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from captum_xg.errors import MissingPackageError


def required(module: str, package: str, where: str) -> ModuleType:
    """Return a module of an optional package.

    Args:
        module: Its full name.
        package: What to install.
        where: What needs it.

    Raises:
        MissingPackageError: If it is not installed.
    """
    top = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != top:  # something that the package itself needs
            raise
        raise MissingPackageError(
            f"{where} needs {package}, which is not installed here: pip install {package}."
        ) from None
