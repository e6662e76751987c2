"""Files of results that are whole at any time, and the settings that all results in a folder share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captum_xg._core.files import make_folder, write_json
from captum_xg._core.reading import ANEW, read_json
from captum_xg.errors import OptionError


def settle(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make a folder for results of these settings, which are written to it the first time.

    Raises:
        OptionError: If it has results of other settings.
        FileError: If it cannot be made, or what is in it cannot be read.
    """
    make_folder(folder)
    path = folder / "settings.json"
    if not path.exists():
        write_json(path, settings)
    found, own = read_json(path, ANEW), json.loads(json.dumps(dict(settings)))
    if found != own:
        names = sorted(name for name in {*found, *own} if found.get(name) != own.get(name))
        listed = ", ".join(f"{name} {found.get(name)!r} there and {own.get(name)!r} now" for name in names)
        raise OptionError(f"{folder} has results of other settings ({listed}). Give another --output, or delete it.")
