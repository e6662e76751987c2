"""The folder of attributions: an index, and beside it shards that are named by the position of their first example.

    DIR/index.json                     what was computed, by what, and where it lies; no times, no machine
    DIR/shards/00000000.safetensors    positions first ≤ i < stop of the data set, for any number of processes

The index stands there before the first shard, so that no shard ever lies there without saying what it belongs to; the
last process lists the shards in it and marks it complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from captum_xg._core.files import write_json
from captum_xg._core.reading import Check, is_count, is_text, or_none, read_json, require_fields, unreadable
from captum_xg.errors import FileError

INDEX, SHARDS, SUFFIX = "index.json", "shards", ".safetensors"
FORMAT, VERSION = "captum_xg.attributions", 1
NO_TOKEN = -1
"""Behind the end of a text that is shorter than the longest."""
NO_LABEL = -1
"""Of an example whose class is not known."""

_ADVICE = "Delete the folder to begin anew."


@dataclass(frozen=True)
class Listed:
    """A shard as the index lists it.

    Attributes:
        file: Its path from the folder.
        first: Position of its first example.
        stop: One behind that of its last.
        kept: How many examples have attributions.
        refused: How many have none.
        sha256: Of the file.
    """

    file: str
    first: int
    stop: int
    kept: int
    refused: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """What ``index.json`` holds.

    Attributes:
        digest: Of the settings; every shard carries it.
        settings: All that the numbers depend on.
        inputs: Names of the inputs.
        examples: How many the data set has; None as long as that is not known.
        complete: Whether all shards are there.
        shards: They, once all are there.
        command: What to open the data by again, where the command line has made the folder.
    """

    digest: str
    settings: dict[str, Any]
    inputs: tuple[str, ...]
    examples: int | None = None
    complete: bool = False
    shards: tuple[Listed, ...] = ()
    command: dict[str, Any] = field(default_factory=dict)


_LISTED: Mapping[str, Check] = {
    **dict.fromkeys(("file", "sha256"), is_text),
    **dict.fromkeys(("first", "stop", "kept", "refused"), is_count),
}
_CHECKS: Mapping[str, Check] = {
    "format": lambda value: value == FORMAT,
    "version": is_count,
    "digest": is_text,
    "settings": lambda value: isinstance(value, dict),
    "inputs": lambda value: isinstance(value, list) and bool(value) and all(map(is_text, value)),
    "examples": or_none(is_count),
    "complete": lambda value: isinstance(value, bool),
    "shards": lambda value: isinstance(value, list),
    "command": lambda value: isinstance(value, dict),
}


def shard_path(folder: Path, first: int) -> Path:
    """Return the path of the shard that begins at a position."""
    return folder / SHARDS / f"{first:08d}{SUFFIX}"


def write_index(folder: Path, index: Index) -> None:
    """Write the index of a folder; it is whole at any time.

    Raises:
        FileError: If it cannot be written.
    """
    # Compact lists of shards would be a line of a megabyte; one line each can be read.
    write_json(folder / INDEX, {"format": FORMAT, "version": VERSION, **asdict(index)})


def read_index(folder: str | Path) -> Index:
    """Return the index of a folder.

    Raises:
        FileError: If there is none, or it holds something else.
    """
    folder = Path(folder)
    path = folder / INDEX
    if not path.exists():
        raise FileError(
            f"{folder} has no {INDEX}, and so no attributions. captum-xg attribute and explain_dataset write them."
        )
    content = read_json(path, _ADVICE)
    if content.get("format") == FORMAT and is_count(version := content.get("version")) and version > VERSION:
        raise unreadable(path, f"it is of version {version}, and this captum_xg knows {VERSION}", "Update captum_xg.")
    try:
        require_fields({"command": {}, **content}, _CHECKS)
        for each in content["shards"]:
            require_fields(each, _LISTED)
            right = shard_path(Path(), each["first"]).as_posix()
            if each["file"] != right or each["first"] >= each["stop"]:
                raise ValueError(f"a shard cannot be {each['file']!r} of {each['first']} to {each['stop']}")
            if each["kept"] + each["refused"] != each["stop"] - each["first"]:
                raise ValueError(f"{each['file']} has {each['kept']} examples and {each['refused']} refused ones")
        if content["complete"]:
            _require_whole(content["shards"], content["examples"])
    except ValueError as error:
        raise unreadable(path, str(error), _ADVICE) from error
    return Index(
        content["digest"],
        content["settings"],
        tuple(content["inputs"]),
        content["examples"],
        content["complete"],
        tuple(Listed(**each) for each in content["shards"]),
        content.get("command", {}),
    )


def _require_whole(shards: Sequence[Mapping[str, Any]], examples: int | None) -> None:
    """Refuse shards that do not follow each other from the first example to the last.

    Raises:
        ValueError: If one is missing, twice there or in another place.
    """
    stop = 0
    for each in shards:
        if each["first"] != stop:
            raise ValueError(f"behind example {stop} its shards go on with {each['file']}")
        stop = each["stop"]
    if stop != examples:
        raise ValueError(f"its shards have {stop} examples, and it says {examples}")
