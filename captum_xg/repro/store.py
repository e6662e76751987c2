"""Results on disk, so that an interrupted experiment goes on where it stopped.

A folder of results belongs to one set of settings, which ``settings.json`` holds: results of other settings are refused
and never mixed in. Every other file is JSON whose records are checked field by field before they are believed, as an
interrupted copy, an editor or another version may have written them; a file is whole at any time. An experiment adds
the names of its files, and what is in one::

    class Store(ResultFolder[Result]):
        record_type, checks, noun = Result, {"test_auc": is_share, "epoch": is_count}, "result"
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from captum_xg._core.files import make_folder, write_json
from captum_xg._core.reading import REDO, Check, read_json, require_fields, unreadable
from captum_xg.errors import FileError

Record = TypeVar("Record")
# Not the file alone: results that lie beside it would be taken for those of the next settings.
_ANEW = "Give another --output, or delete the folder that it is in."


class ResultFolder(Generic[Record]):
    """Records of one dataclass in the JSON files of a folder.

    Args:
        folder: Made if it is missing.
        settings: What results depend on besides what names them. Written to the folder the first time.

    Attributes:
        record_type: The dataclass.
        checks: What each of its fields must be.
        noun: What a record is called in messages.

    Raises:
        FileError: If the folder has results of other settings, cannot be made, or its settings cannot be read.
    """

    record_type: type[Record]
    checks: ClassVar[Mapping[str, Check]]
    noun: ClassVar[str]

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.folder = make_folder(folder)
        path = folder / "settings.json"
        # Before the first result, so that none ever lies there without saying what it belongs to.
        if not path.exists():
            write_json(path, settings)
        # Through JSON as well, which makes lists of tuples and texts of keys.
        found, own = read_json(path, _ANEW), json.loads(json.dumps(dict(settings)))
        if found != own:
            names = sorted(name for name in {*found, *own} if found.get(name) != own.get(name))
            listed = ", ".join(f"{name} {found.get(name)!r} there and {own.get(name)!r} now" for name in names)
            raise FileError(f"{folder} has results of other settings ({listed}). Give another --output, or delete it.")

    def read(self, path: Path) -> dict[str, object]:
        """Return what a file of the folder holds, an empty dict if it is missing.

        Raises:
            FileError: If it cannot be read, or holds something else.
        """
        return read_json(path, REDO) if path.exists() else {}

    def record(self, values: object, path: Path, name: str = "it") -> Record:
        """Return part of a file as a record.

        Raises:
            FileError: If its fields are not those of a record.
        """
        try:
            require_fields(values, self.checks)
            return self.record_type(**values)  # type: ignore[arg-type]  # the fields have been checked
        except ValueError as error:
            raise unreadable(path, f"{name} holds no {self.noun} ({error})", REDO) from error
