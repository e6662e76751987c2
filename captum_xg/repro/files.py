"""Files of results that are whole at any time, and the settings that all results in a folder share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captum_xg._files import write_json
from captum_xg.errors import OptionError


def read_json(path: Path) -> dict[str, Any]:
    """Return what a file holds.

    Raises:
        OptionError: If it cannot be read, or holds something other than a dict.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} cannot be read: {error}. Delete it to have it done anew.") from error
    if not isinstance(content, dict):
        raise OptionError(f"{path} holds something other than results. Delete it to have it done anew.")
    return content


def settle(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make a folder for results of these settings, which are written to it the first time.

    Raises:
        OptionError: If it has results of other settings, or what is in it cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    if not path.exists():
        write_json(path, settings)
    found, own = read_json(path), json.loads(json.dumps(dict(settings)))
    if found != own:
        names = sorted(name for name in {*found, *own} if found.get(name) != own.get(name))
        listed = ", ".join(f"{name} {found.get(name)!r} there and {own.get(name)!r} now" for name in names)
        raise OptionError(f"{folder} has results of other settings ({listed}). Give another --output, or delete it.")
