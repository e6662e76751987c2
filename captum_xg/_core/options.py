"""Checks of arguments that several parts of the package take: functions, switches, numbers, choices, paths, devices."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn

from captum_xg._core.text import in_one_line
from captum_xg.errors import OptionError, OptionTypeError

_Choice = TypeVar("_Choice")
_OTHER_NAMES = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps", "apple": "mps"}


def forward_function(value: object, name: str, where: str) -> Any:
    """Return a model if it is something that can be called with inputs.

    Raises:
        OptionTypeError: If it is not callable, a class in place of an instance, or the pair that ``to_xdnn`` returns.
    """
    if isinstance(value, type):
        raise OptionTypeError(
            f"{where}: `{name}` is the class {value.__name__}. Pass an instance: {value.__name__}(…)."
        )
    if isinstance(value, tuple) and any(isinstance(part, nn.Module) for part in value):
        raise OptionTypeError(
            f"{where}: `{name}` is a tuple with a model in it, as to_xdnn returns. Unpack it first: "
            "`model, report = to_xdnn(…)`, and pass the model."
        )
    if not callable(value):
        raise OptionTypeError(f"{where}: `{name}` must be callable but is {type(value).__name__}.")
    return value


def switch(value: object, name: str, where: str, *, numbers: bool = True) -> bool:
    """Return an option that is on or off; NumPy's and tensors' booleans are taken, too, and with ``numbers`` 0 and 1.

    Raises:
        OptionTypeError: If it is something else, such as a layer in the place where Captum's layer methods take one.
    """
    if isinstance(value, nn.Module):
        raise OptionTypeError(
            f"{where}: `{name}` must be True or False but is a module ({type(value).__name__}). Captum's layer methods "
            "take a layer in this place; this one explains the inputs of the forward function. Use LayerXGradient, "
            "which explains what a layer gives."
        )
    plain = _plain(value)
    if not isinstance(plain, bool) and not (numbers and isinstance(plain, int) and plain in (0, 1)):
        raise OptionTypeError(f"{where}: `{name}` must be True or False but is {_shown(value)}.")
    return bool(plain)


def positive_integer(value: object, name: str, where: str) -> int:
    """Return an option that must be a positive integer.

    Raises:
        OptionError: If it is something else.
    """
    return integer(value, name, where, least=1)


def integer(value: object, name: str, where: str, *, least: int | None = None) -> int:
    """Return an option that must be an integer, and not below ``least``; NumPy's and tensors' are taken, too.

    Raises:
        OptionTypeError: If it is not an integer.
        OptionError: If it is too small.
    """
    kind = {None: "an integer", 0: "an integer ≥ 0", 1: "a positive integer"}.get(least, f"an integer ≥ {least}")
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, Integral):
        raise OptionTypeError(f"{where}: `{name}` must be {kind} but is {_shown(value)}.")
    if least is not None and plain < least:
        raise OptionError(f"{where}: `{name}` must be {kind} but is {_shown(value)}.")
    return int(plain)


def finite_number(value: object, name: str, where: str) -> float:
    """Return an option that must be a finite real number; tensors and arrays of one number are taken, too.

    Raises:
        OptionTypeError: If it is not a number.
        OptionError: If it is NaN or infinite.
    """
    number = single_number(value)
    if number is None:
        raise OptionTypeError(f"{where}: `{name}` must be a number but is {_shown(value)}.")
    if not math.isfinite(number):
        raise OptionError(f"{where}: `{name}` must be a finite number but is {number}.")
    return number


def number_that(value: object, holds: Callable[[float], bool], kind: str, name: str, where: str) -> float:
    """Return an option that must be a finite number with a property, named by ``kind``: "a finite number > 0".

    Raises:
        OptionTypeError: If it is not a number.
        OptionError: If it is another number.
    """
    number = single_number(value)
    if number is None or not math.isfinite(number) or not holds(number):
        error = OptionTypeError if number is None else OptionError
        raise error(f"{where}: `{name}` must be {kind} but is {_shown(value)}.")
    return number


def single_numbers(values: object) -> tuple[float, ...] | None:
    """Return the real numbers in a list, an array or a tensor; None if there is anything else in it."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable) or getattr(values, "shape", None) == ():
        return None
    numbers = [single_number(value) for value in values]
    found = tuple(number for number in numbers if number is not None)
    return found if len(found) == len(numbers) else None


def single_number(value: object) -> float | None:
    """Return the real number that a value is, in Python, NumPy or a tensor without dimensions; else None."""
    plain = _plain(value)
    if not isinstance(plain, Real) or isinstance(plain, bool):
        return None
    try:
        return float(plain)
    except OverflowError:  # an integer or a fraction beyond the largest float
        return -math.inf if plain < 0 else math.inf


def one_of(value: object, choices: Iterable[_Choice], name: str, where: str) -> _Choice:
    """Return an option that must be one of some values.

    Raises:
        OptionTypeError: If it is of another type than all of them; the message lists them.
        OptionError: If it is none of them.
    """
    listed = list(choices)
    # A subclass of str (NumPy's, an enumeration's) is a str; True is no 1.
    alike = [c for c in listed if isinstance(value, type(c)) and isinstance(value, bool) == isinstance(c, bool)]
    if not any(value == choice for choice in alike):
        shown = list(map(repr, listed))
        known = f"{', '.join(shown[:-1])} or {shown[-1]}" if len(shown) > 1 else shown[0]
        kind = OptionError if alike else OptionTypeError
        raise kind(f"{where}: `{name}` must be {known} but is {_shown(value)}.")
    return cast("_Choice", value)


def file_path(value: object, name: str, where: str) -> Path:
    """Return an option that must be the path of a file or folder; ``~`` is the user's home.

    Raises:
        OptionTypeError: If it is something else.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise OptionTypeError(f"{where}: `{name}` must be a str or a Path but is {_shown(value)}.")
    return Path(os.path.expanduser(value))  # unlike that of Path, it leaves the names of unknown users as they are


def usable_device(name: str | int | torch.device, option: str, *, only: Sequence[str] = ()) -> torch.device:
    """Return a device after having put a number there and taken it back.

    Args:
        name: As ``torch.device`` takes it.
        option: What named it, for messages: ``"--device"``.
        only: Types that can be used for what it is meant for; any if empty.

    Raises:
        OptionTypeError: If it names no device.
        OptionError: If this machine has no such device, or it holds no numbers, or is of another type.
    """
    said = f"{option} {name}"
    if isinstance(name, bool) or not isinstance(name, (str, int, torch.device)):
        raise OptionTypeError(f"{option} must be a device, such as 'cpu' or 'cuda', but is {type(name).__name__}.")
    try:
        device = torch.device(name)
    except Exception as error:  # RuntimeError or TypeError, with a list of all types that PyTorch was ever built for
        kind = str(name).partition(":")[0].strip().lower()
        meant = f" Did you mean {_OTHER_NAMES[kind]}?" if kind in _OTHER_NAMES else ""
        raise OptionError(f"{said}: there is no such device.{meant} {_there_are()}") from error
    if only and device.type not in only:
        raise OptionError(f"{said}: this runs on {' and '.join(only)} only.")
    if device.type == "meta":
        raise OptionError(f"{said}: the meta device holds no numbers. {_there_are()}")
    try:
        torch.zeros(1, device=device).item()
    except Exception as error:  # each kind of device has its own way to say that it is not there
        raise OptionError(f"{said}: cannot be used here ({in_one_line(error)}). {_there_are()}") from error
    return device


def _there_are() -> str:
    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return f"Available here: {', '.join(found)}."


def _plain(value: object) -> Any:
    """Return the Python number that an array or a tensor without dimensions holds, and anything else as it is."""
    if getattr(value, "shape", None) == () and hasattr(value, "item") and not getattr(value, "is_meta", False):
        return value.item()
    return value


def _shown(value: object) -> str:
    """Return a value as messages show it: short ones as they are, others by their type."""
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"of type {type(value).__name__}"
