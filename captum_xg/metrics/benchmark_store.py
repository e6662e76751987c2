"""Results on disk, one file for each batch and method, so that an interrupted benchmark goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor

from captum_xg._files import write_json
from captum_xg.errors import OptionError

_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Part:
    """What one method gave on one batch.

    Attributes:
        n: Examples in the batch.
        digest: Of the batch.
        scores: Metric → values per example; empty if the method refused.
        forward_passes: Examples through the model; None if not counted.
        gradient_evaluations: Examples that a gradient was taken for; None if not counted.
        seconds: Of the attribution.
        peak_memory: Bytes on the accelerator; None elsewhere.
        refusal: What the method said instead of an attribution.
        refused_in: The metric for which it was to attribute then; None if for the attributions themselves.
    """

    n: int
    digest: str
    scores: dict[str, Tensor]
    forward_passes: int | None
    gradient_evaluations: int | None
    seconds: float
    peak_memory: int | None
    refusal: str | None = None
    refused_in: str | None = None


class Store:
    """The parts of one benchmark, in a folder.

    Args:
        folder: Made if it is missing.
        settings: What all parts depend on.
        methods: Method → what else its parts depend on. Others may be added later, these may not change.
        metrics: The same for metrics.

    Raises:
        OptionError: If the folder has parts with other settings, or what is in it cannot be read.
    """

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any], methods: Mapping[str, Any], metrics: Mapping[str, Any]
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        groups = {"settings": settings, "method": methods, "metric": metrics}
        own: dict[str, dict[str, Any]] = json.loads(json.dumps(groups))
        path = self.folder / _SETTINGS
        found = _read(path) if path.exists() else {group: {} for group in own}
        changed = [
            name if group == "settings" else f"{group} {name}"
            for group, entries in own.items()
            for name in entries
            if name in found[group] and found[group][name] != entries[name]
        ]
        if changed:
            raise OptionError(
                f"AttributionBenchmark.run: {self.folder} has results of another configuration; changed: "
                f"{', '.join(changed)}. Give another folder, or delete this one to begin anew."
            )
        write_json(path, {group: {**found[group], **entries} for group, entries in own.items()})

    def part(self, index: int, method: str, digest: str, metrics: list[str]) -> Part | None:
        """Return what is there of a batch; None if it is yet to be done, for all of these metrics.

        Raises:
            OptionError: If it is about another batch, or cannot be read.
        """
        path = self._path(index, method)
        if not path.exists():
            return None
        try:
            part = Part(**torch.load(path, weights_only=True, map_location="cpu"))
        except Exception as error:  # pickle raises whatever it likes
            raise OptionError(f"{path} cannot be read ({error}). Delete it to have it done anew.") from error
        if part.digest != digest:
            raise OptionError(
                f"AttributionBenchmark.run: the results in {self.folder} are about other examples, or about these in "
                f"another order: batch {index} is not the one that they were made from. Use a loader that does not "
                "shuffle and the same batch size, or give another folder."
            )
        if part.refusal is not None:
            return part if part.refused_in is None or part.refused_in in metrics else None
        return part if set(metrics) <= set(part.scores) else None

    def add(self, index: int, method: str, part: Part) -> None:
        """Add a part; its file is whole at any time."""
        path = self._path(index, method)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        torch.save({**asdict(part), "scores": part.scores}, unfinished)
        unfinished.replace(path)

    def _path(self, index: int, method: str) -> Path:
        return self.folder / f"batch{index:06d}-{quote(method, safe='')}.pt"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
        if set(content) == {"settings", "method", "metric"}:
            return dict(content)
        reason = "it holds something else"
    except (OSError, ValueError, TypeError) as error:
        reason = str(error)
    raise OptionError(f"{path} cannot be read as the settings of a benchmark: {reason}. Give another folder.")
