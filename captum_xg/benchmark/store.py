"""Partial results on disk, one file for each batch and method, from which an interrupted benchmark goes on.

What must never happen: a number of another model, method, metric or batch in a table. A folder says what its parts are
of (``settings.json``), a part says of which batch it is, and both are compared before a part is used; a part whose
numbers are not those that were written is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import torch
from torch import Tensor

from captum_xg._core.files import make_folder, write_json, write_tensors
from captum_xg._core.reading import (
    REDO,
    Check,
    is_amount,
    is_count,
    is_text,
    or_none,
    read_json,
    read_tensors,
    require_fields,
    unreadable,
)
from captum_xg.benchmark.data import RUN, digest_of_tensors
from captum_xg.errors import OptionError

SETTINGS = "settings.json"
ANOTHER = "Give another folder."

_ONCE_NEEDED = ("reference", "references")
"""Settings that come with the first method or metric that needs them."""

_MEANING = {
    "references": "The references are those of Expected Gradients: unless they are given, the first images or other "
    "examples of the loader, so that other ones, or another number of them, change them.",
    "model": "The model is its weights, buffers, settings and code.",
    "reference": "The reference is the method that metrics such as MARD compare with.",
}


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
        self,
        folder: str | Path,
        settings: Mapping[str, object],
        methods: Mapping[str, object],
        metrics: Mapping[str, object],
    ) -> None:
        self.folder = Path(folder)
        make_folder(self.folder)
        groups = {"settings": settings, "method": methods, "metric": metrics}
        # Through JSON, so that tuples and lists, which a file does not tell apart, compare equal.
        own: dict[str, dict[str, object]] = json.loads(json.dumps(groups))
        path = self.folder / SETTINGS
        known = path.exists()
        if not known and next(self.folder.glob("batch*.pt"), None) is not None:
            raise unreadable(path, "it is missing, and nothing else says what the results beside it are of", ANOTHER)
        found = _read_settings(path, own) if known else {group: {} for group in own}

        # Methods and metrics may be new; of the settings only those that come with the first one that needs them.
        def required(name: str) -> bool:
            return known and name not in _ONCE_NEEDED

        changed = [
            name if group == "settings" else f"{group} {name}"
            for group, entries in own.items()
            for name in entries
            if found[group].get(name) != entries[name]
            and (name in found[group] or (group == "settings" and required(name)))
        ]
        if changed:
            meaning = "".join(f"{_MEANING[name]} " for name in changed if name in _MEANING)
            raise OptionError(
                f"{RUN}: {self.folder} has results of another configuration; changed: "
                f"{', '.join(changed)}. {meaning}Give another folder, or delete this one to start over."
            )
        write_json(path, {group: {**found[group], **entries} for group, entries in own.items()})

    def part(self, index: int, method: str, digest: str, metrics: list[str]) -> Part | None:
        """Return what is there of a batch; None if it is yet to be done, for all of these metrics.

        Raises:
            OptionError: If it is about another batch.
            FileError: If it cannot be read, or holds something other than was written.
        """
        # By the index of the batch: the digest inside tells whether the loader still gives the same one there.
        path = self._path(index, method)
        if not path.exists():
            return None
        part = _read_part(path)
        if part.digest != digest:
            raise OptionError(
                f"{RUN}: the results in {self.folder} are about other examples, or about these in "
                f"another order: batch {index} is not the one of {part.n} examples that they were made from. Use the "
                "same number of examples, the same batch size and a loader that does not shuffle, or give another "
                "folder."
            )
        # A refusal in a metric is that of the method only as long as the metric is asked for.
        if part.refusal is not None:
            return part if part.refused_in is None or part.refused_in in metrics else None
        return part if set(metrics) <= set(part.scores) else None

    def add(self, index: int, method: str, part: Part) -> None:
        """Add a part; its file is whole at any time."""
        content = {**asdict(part), "scores": dict(part.scores)}
        write_tensors(self._path(index, method), {**content, "checksum": digest_of_tensors(_as_list(content))})

    def _path(self, index: int, method: str) -> Path:
        # Names of methods are the user's, and may hold slashes.
        return self.folder / f"batch{index:06d}-{quote(method, safe='')}.pt"


def _read_part(path: Path) -> Part:
    """Return a part as it was written.

    Raises:
        FileError: If it cannot be read, or holds something else.
    """
    content = read_tensors(path, REDO)
    try:
        require_fields(content, _FIELDS)
        part = Part(**{name: value for name, value in content.items() if name != "checksum"})
        for name, scores in part.scores.items():
            if not isinstance(name, str) or not _is_plain_tensor(scores):
                raise ValueError(f"its scores of {name!r} are not a tensor of numbers")
            if scores.dim() == 0 or len(scores) != part.n:
                raise ValueError(f"its scores of {name!r} have shape {tuple(scores.shape)} for {part.n} examples")
        # NaN and infinity may be what a metric gave, so what tells damage is that numbers are not those written.
        if digest_of_tensors(_as_list({**asdict(part), "scores": part.scores})) != content["checksum"]:
            raise ValueError("its numbers are not those that were written")
    except ValueError as error:
        raise unreadable(path, str(error), REDO) from error
    return part


_FIELDS: dict[str, Check] = {
    "n": lambda value: is_count(value) and value > 0,
    "digest": is_text,
    "scores": lambda value: isinstance(value, dict),
    "forward_passes": or_none(is_count),
    "gradient_evaluations": or_none(is_count),
    "seconds": is_amount,
    "peak_memory": or_none(is_count),
    "refusal": or_none(is_text),
    "refused_in": or_none(is_text),
    "checksum": is_text,
}


def _is_plain_tensor(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta


def _as_list(content: Mapping[str, object]) -> list[object]:
    # Sorted, for a dict that was read may have another order.
    return [[name, sorted(part.items()) if isinstance(part, dict) else part] for name, part in sorted(content.items())]


def _read_settings(path: Path, groups: Collection[str]) -> dict[str, dict[str, object]]:
    content = read_json(path, ANOTHER)
    if set(content) != set(groups) or not all(isinstance(entries, dict) for entries in content.values()):
        raise unreadable(path, "it holds something other than the settings of a benchmark", ANOTHER)
    return content
