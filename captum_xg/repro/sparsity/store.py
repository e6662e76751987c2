"""Results on disk: one file per method and strength, so that an interrupted experiment goes on where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from captum_xg._core.files import write_json
from captum_xg._core.reading import (
    ANEW,
    Check,
    is_amount,
    is_count,
    is_share,
    is_text,
    read_json,
    require_fields,
    unreadable,
)
from captum_xg.repro.files import settle
from captum_xg.repro.sparsity.protocol import Method, Result


class Store:
    """The results of one experiment in a folder.

    Args:
        folder: Made if it is missing.
        settings: What results depend on besides method, strength and repetition. Written to the folder the first time.

    Raises:
        OptionError: If the folder has results of other settings, or what is in it cannot be read.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        settle(self.folder, settings)

    def results(self, method: Method, strength: float) -> dict[int, Result]:
        """Return the results there are, by repetition.

        Raises:
            FileError: If they cannot be read, or are something else.
        """
        path = self._path(method, strength)
        if not path.exists():
            return {}
        found = {}
        for repetition, values in read_json(path, ANEW).items():
            try:
                if not repetition.isdecimal():
                    raise ValueError("its name is no number")
                require_fields(values, _FIELDS)
            except ValueError as error:
                raise unreadable(path, f"{repetition!r} holds no result ({error})", ANEW) from error
            found[int(repetition)] = Result(**values)
        return found

    def add(self, method: Method, strength: float, results: Mapping[int, Result]) -> None:
        """Add results; the file is whole at any time."""
        everything = {**self.results(method, strength), **results}
        write_json(self._path(method, strength), {str(i): asdict(everything[i]) for i in sorted(everything)})

    def _path(self, method: Method, strength: float) -> Path:
        return self.folder / (
            f"{method.key}.json" if method.attribution == "none" else f"{method.key}_{strength:g}.json"
        )


_FIELDS: dict[str, Check] = {
    "valid_auc": is_share,
    "test_auc": is_share,
    "epoch": is_count,
    "seconds": is_amount,
    "device": is_text,
}
