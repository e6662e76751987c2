"""Where an experiment ran: versions, processor, accelerator, and the commit of the package."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from captum_xg._version import __version__

_PACKAGES = ("torch", "torchvision", "captum", "torchmetrics", "numpy")


def environment(device: str = "cpu") -> dict[str, str]:
    """Return what a reader of results has to know of the machine and the packages, by name."""
    import torch

    found = {
        "captum_xg": f"{__version__}, {commit()}",
        "Python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
    }
    if device.startswith("cuda"):
        found["accelerator"] = torch.cuda.get_device_name(device)
    return found


@cache
def commit() -> str:
    """Return the commit of the checkout that the package is in, with a plus sign if files of it were changed.

    An installed package has none: then the text says so.
    """
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return "an installed package"
    try:
        found = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "a checkout of an unknown commit"
    return found.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
