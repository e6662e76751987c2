"""Where an experiment runs."""

from __future__ import annotations

import torch

from captum_xg.errors import OptionError


def usable_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises:
        OptionError: If there is none, or it is neither a CPU nor a CUDA device.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OptionError(f"--device {name}: cannot be used here: {reason}") from error
    if device.type not in ("cpu", "cuda"):
        raise OptionError(f"--device {name}: the experiment runs on cpu and cuda only.")
    return device
