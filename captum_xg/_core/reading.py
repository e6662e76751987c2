"""Readers of files from elsewhere or from an earlier run: nothing in them is run, and everything is checked."""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from captum_xg._core.text import in_one_line
from captum_xg.errors import FileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Check = Callable[[object], bool]

REDO = "Delete it to redo it."
"""What to do with a damaged part of results that can be made again."""

_FOREIGN = re.compile(r"GLOBAL ([\w.]+)")


def read_json(path: str | Path, advice: str = "") -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        FileError: If it cannot be read, or holds something else.
    """
    path = require_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, in_one_line(error), advice) from error
    if not isinstance(content, dict):
        raise unreadable(path, f"it holds {type(content).__name__} and no object with names", advice)
    return content


def read_tensors(path: str | Path, advice: str = "") -> Any:
    """Return what a file of ``torch.save`` holds, on the CPU, tensors and plain values only.

    Raises:
        FileError: If it cannot be read, or holds anything else.
    """
    import torch

    path = require_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file leads the unpickler to
        raise unreadable(path, why_not_loaded(error), advice) from error


def read_array(path: str | Path) -> NDArray[Any]:
    """Return the array that an ``.npy`` file holds.

    Raises:
        FileError: If it cannot be read, or holds Python objects.
    """
    import numpy as np

    path = require_file(path)
    try:
        found = np.load(path, allow_pickle=False)
    except Exception as error:  # damaged archives raise errors of zipfile, zlib and others
        raise unreadable(path, _why_no_array(error)) from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise unreadable(path, "it is an archive of arrays (.npz) and no single array (.npy)")
    return found


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return name → array of an ``.npz`` file.

    Raises:
        FileError: If it cannot be read, or holds Python objects.
    """
    import numpy as np

    path = require_file(path)
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            with found:
                return {name: _array(found, name) for name in found.files}
    except Exception as error:  # damaged archives raise errors of zipfile, zlib and others
        raise unreadable(path, _why_no_array(error)) from error
    raise unreadable(path, "it is one array (.npy) and no archive of arrays (.npz)")


def require_file(path: str | Path) -> Path:
    """Return the path of a regular file: what waits at the end of a pipe cannot be gone through twice.

    Raises:
        FileError: If there is none.
    """
    path = Path(path)
    try:
        if path.is_file():
            return path
        reason = "it is not a regular file" if path.exists() else "there is no such file"
    except (OSError, ValueError) as error:
        reason = in_one_line(error)
    raise unreadable(path, reason)


def unreadable(path: Path, reason: str, advice: str = "") -> FileError:
    """Return the error to raise for a file."""
    return FileError(f"{path} cannot be read: {reason}." + (f" {advice}" if advice else ""))


def foreign_object(error: Exception) -> str | None:
    """Return the name of the class or function in a pickle that ``torch.load`` refused; None if that was not it."""
    found = _FOREIGN.search(str(error))
    return found.group(1) if found else None


def why_not_loaded(error: Exception) -> str:
    """Return what ``torch.load`` stumbled over, without its own advice to allow everything."""
    if name := foreign_object(error):
        return f"it holds {name}. Only tensors and plain values are unpickled, since anything else could run any code"
    # The name of a KeyError is that of an entry in the unpickler's tables.
    telling = not isinstance(error, (pickle.UnpicklingError, KeyError))
    first = str(error).strip().split(". ")[0] if telling else ""
    return "it is damaged or no checkpoint" + (f" ({' '.join(first.split())})" if first else "")


def require_fields(content: object, fields: Mapping[str, Check]) -> None:
    """Raise ValueError with what is wrong unless ``content`` has exactly these fields, each as its check asks."""
    if not isinstance(content, Mapping):
        raise ValueError(f"it is {type(content).__name__} and has no fields")
    missing = [name for name in fields if name not in content]
    unknown = [str(name) for name in content if name not in fields]
    if missing or unknown:
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise ValueError(f"it {' and '.join(parts)}")
    for name, good in fields.items():
        if not good(content[name]):
            shown = repr(content[name])
            raise ValueError(f"its {name} cannot be {shown if len(shown) <= 60 else type(content[name]).__name__}")


def is_text(value: object) -> TypeGuard[str]:
    """Whether a value is a text."""
    return isinstance(value, str)


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value is an integer of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_amount(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number of at least 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def is_share(value: object) -> bool:
    """Whether a value is a number from 0 to 1."""
    return is_amount(value) and value <= 1


def or_none(check: Check) -> Check:
    """Return the check that takes None as well."""
    return lambda value: value is None or check(value)


def _array(archive: Mapping[str, object], name: str) -> NDArray[Any]:
    import numpy as np

    try:
        found = archive[name]
    except Exception as error:
        raise ValueError(f"array {name!r}: {_why_no_array(error)}") from error
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{name!r} is not an array")
    return found


def _why_no_array(error: Exception) -> str:
    text = str(error)
    if "allow_pickle" in text or "pickled" in text:  # numpy's advice is to allow what could run any code
        return "it holds Python objects, or no array at all; only arrays of numbers are read"
    return in_one_line(error)
