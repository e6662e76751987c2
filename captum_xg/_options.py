"""Checks of options that several parts of the package take."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from captum_xg.errors import OptionError


def positive_integer(value: Any, name: str, where: str) -> int:
    """Return an option that must be a positive integer.

    Raises:
        OptionError: If it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise OptionError(f"{where}: `{name}` must be a positive integer but is {value!r}.")
    return int(value)
