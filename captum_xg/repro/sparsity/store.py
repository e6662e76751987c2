"""Results of the sparsity experiment on disk: one file for each method and λ, with its repetitions by number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from captum_xg._core.files import write_json
from captum_xg._core.reading import REDO, Check, is_amount, is_count, is_share, is_text, unreadable
from captum_xg.repro.sparsity.protocol import Method, Result
from captum_xg.repro.store import ResultFolder


class Store(ResultFolder[Result]):
    """The results of one experiment in a folder."""

    record_type = Result
    noun = "result"
    checks: ClassVar[Mapping[str, Check]] = {
        "valid_auc": is_share,
        "test_auc": is_share,
        "epoch": is_count,
        "seconds": is_amount,
        "device": is_text,
    }

    def results(self, method: Method, strength: float) -> dict[int, Result]:
        """Return the results there are, by repetition.

        Raises:
            FileError: If they cannot be read, or are something else.
        """
        path, found = self._path(method, strength), {}
        for repetition, values in self.read(path).items():
            if not repetition.isdecimal():
                raise unreadable(path, f"{repetition!r} holds no result (its name is not a number)", REDO)
            found[int(repetition)] = self.record(values, path, repr(repetition))
        return found

    def add(self, method: Method, strength: float, results: Mapping[int, Result]) -> None:
        """Add results; the file is whole at any time."""
        everything = {**self.results(method, strength), **results}
        write_json(self._path(method, strength), {str(i): asdict(everything[i]) for i in sorted(everything)})

    def _path(self, method: Method, strength: float) -> Path:
        return self.folder / (f"{method.key}_{strength:g}.json" if method.has_prior else f"{method.key}.json")
