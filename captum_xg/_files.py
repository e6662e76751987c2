"""Files that are whole at any time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file, or replace it by a whole one; several processes may."""
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(dict(content), indent=1) + "\n")
    unfinished.replace(path)
