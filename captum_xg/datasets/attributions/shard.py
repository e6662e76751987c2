"""One shard: columns of tensors over the examples that have attributions, and who has none.

Written here and not by the library of safetensors, which puts what it says of a file in an order that changes from run
to run: the same attributions are the same bytes. It reads what is written here.

    8 bytes      length of the header, little-endian
    header       JSON: name → dtype, shape, place; "__metadata__": texts; filled with spaces to a multiple of 8
    numbers      without gaps, wider ones first, so that each lies at a multiple of its width
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.contents import bytes_of
from captum_xg._core.files import whole_file
from captum_xg._core.loading import of_extra
from captum_xg._core.reading import require_file, unreadable
from captum_xg._core.text import in_one_line
from captum_xg.datasets.attributions.refused import RefusedExample, as_text, from_text

_NAMES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.float16: "F16",
}
_ADVICE = "Delete it, and run the same command again to redo it."


@dataclass(frozen=True)
class Shard:
    """Attributions of the examples first ≤ i < stop of a data set, as they are written.

    Attributes:
        first: Position of the first example.
        stop: One behind that of the last.
        run: The digest of the settings that it belongs to.
        columns: Name → tensor of shape ``(n, …)`` over the n examples that have attributions.
        refused: The others.
    """

    first: int
    stop: int
    run: str
    columns: Mapping[str, Tensor]
    refused: tuple[RefusedExample, ...] = ()


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard; the file appears once all of it is on the disk.

    Raises:
        FileError: If it cannot be written; what was there is as it was.
    """
    columns = dict(sorted(shard.columns.items(), key=lambda item: (-item[1].element_size(), item[0])))
    texts = {"first": f"{shard.first}", "stop": f"{shard.stop}", "run": shard.run, "refused": as_text(shard.refused)}
    header: dict[str, object] = {"__metadata__": texts}
    end = 0
    for name, column in columns.items():
        begin, end = end, end + column.numel() * column.element_size()
        header[name] = {"dtype": _NAMES[column.dtype], "shape": list(column.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    assert sys.byteorder == "little"  # as the format has it; PyTorch supports no other machine
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for column in columns.values():
            file.write(bytes_of(column))
        file.flush()
        os.fsync(file.fileno())  # or a rename could be on the disk before what it renames


@dataclass
class OpenShard:
    """A shard that is read where it lies, part by part.

    Attributes:
        path: The file.
        first: Position of the first example.
        stop: One behind that of the last.
        run: The digest of the settings that it belongs to.
        kept: How many examples have attributions.
        refused: The others.

    Raises:
        FileError: If it is no shard.
        MissingPackageError: If safetensors is not installed.
    """

    path: Path
    first: int = field(init=False)
    stop: int = field(init=False)
    run: str = field(init=False)
    kept: int = field(init=False)
    refused: tuple[RefusedExample, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._file = opened(self.path)
        try:
            texts = self._file.metadata() or {}
            self.first, self.stop = int(texts["first"]), int(texts["stop"])
            self.run, self.refused = texts["run"], from_text(texts["refused"])
            self.names = frozenset(self._file.keys())
            self.kept = self._file.get_slice("ids").get_shape()[0]
            lengths = {self._file.get_slice(name).get_shape()[0] for name in self.names}
        except Exception as error:  # what is missing or wrong raises whatever json, int and safetensors raise
            raise unreadable(self.path, f"it is no shard of attributions ({in_one_line(error)})", _ADVICE) from error
        if lengths != {self.kept} or self.kept + len(self.refused) != self.stop - self.first:
            raise unreadable(self.path, "its columns are not all of one length", _ADVICE)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape that one example has in a column."""
        return tuple(self._file.get_slice(name).get_shape()[1:])

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Return rows of a column, in memory that is the file's: not to be written to.

        Raises:
            FileError: If there is no such column.
        """
        if name not in self.names:
            raise unreadable(self.path, f"it has no column {name}", _ADVICE)
        rows: Tensor = self._file.get_slice(name)[start : self.kept if stop is None else stop]
        return rows


def opened(path: Path) -> Any:
    """Return a file of safetensors, mapped into memory.

    Raises:
        FileError: If it is damaged or none.
        MissingPackageError: If safetensors is not installed.
    """
    library = required_library()
    try:
        return library.safe_open(str(require_file(path)), framework="pt")
    except (OSError, library.SafetensorError) as error:
        raise unreadable(path, in_one_line(error), _ADVICE) from error


def required_library() -> Any:
    """Return safetensors.

    Raises:
        MissingPackageError: If it is not installed.
    """
    return of_extra("safetensors", "attributions of data sets are files of safetensors", "scan")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in parts.

    Raises:
        FileError: If it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with require_file(path).open("rb") as file:
            while part := file.read(2**20):
                digest.update(part)
    except OSError as error:
        raise unreadable(path, in_one_line(error), _ADVICE) from error
    return digest.hexdigest()
