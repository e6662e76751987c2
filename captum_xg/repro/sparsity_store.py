"""Results on disk: one file per method and strength, so that an interrupted experiment goes on where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from captum_xg._files import write_json
from captum_xg.errors import OptionError
from captum_xg.repro.files import read_json, settle
from captum_xg.repro.sparsity_protocol import Method, Result


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
        """Return the results there are, by repetition."""
        path = self._path(method, strength)
        if not path.exists():
            return {}
        try:
            return {int(repetition): Result(**values) for repetition, values in read_json(path).items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise OptionError(
                f"{path} holds something other than results: {error}. Delete it to have it done anew."
            ) from error

    def add(self, method: Method, strength: float, results: Mapping[int, Result]) -> None:
        """Add results; the file is whole at any time."""
        everything = {**self.results(method, strength), **results}
        write_json(self._path(method, strength), {str(i): asdict(everything[i]) for i in sorted(everything)})

    def _path(self, method: Method, strength: float) -> Path:
        return self.folder / (
            f"{method.key}.json" if method.attribution == "none" else f"{method.key}_{strength:g}.json"
        )
