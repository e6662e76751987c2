"""Devices that are named by people: is there such a one, and can it hold numbers?"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from captum_xg._core.failures import in_one_line
from captum_xg.errors import OptionError, OptionTypeError

_OTHER_NAMES = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps", "apple": "mps"}


def usable_device(name: str | int | torch.device, option: str, *, only: Sequence[str] = ()) -> torch.device:
    """Return a device after having put a number there and taken it back.

    Args:
        name: As ``torch.device`` takes it.
        option: What named it, for messages: ``"--device"``.
        only: Types that can be used for what it is meant for; any if empty.

    Raises:
        OptionTypeError: If it names no device.
        OptionError: If there is none of that name here, it holds no numbers, or is of another type.
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
