"""Writers of chunks: scripts that hand some examples' numbers to the page, since it cannot read files from disk.

A page that was opened from disk may not fetch files, but it may load scripts. So each chunk is a script with one call:
``captumXG.chunk(family, number, text)``, where the text is base64 of the examples' bytes behind each other.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST = 512
"""The most examples in a chunk."""


class ChunkWriter:
    """Writes the bytes of one example after another, so many examples to a file; only one chunk is held in memory.

    In a chunk of n examples come n + 1 offsets (uint32, little endian) and then the examples' bytes.

    Args:
        folder: Where the files are put.
        family: What these bytes are, the beginning of the files' names.
        typical: The bytes of a typical example: chunks are to have some ``wanted`` bytes.
        packed: Whether chunks are deflated; JPEGs are not, as that gains nothing.
        wanted: The bytes of a chunk before it is packed.
    """

    def __init__(self, folder: Path, family: str, typical: int, *, packed: bool = True, wanted: int = 2**17) -> None:
        self.folder, self.family, self.packed = folder, family, packed
        fitting = max(1, wanted // max(typical, 1))
        self.per_chunk = min(_MOST, 1 << (fitting.bit_length() - 1))
        self._waiting: list[bytes] = []
        self.chunks = self.written = 0

    def add(self, content: bytes) -> None:
        """Add the next example."""
        self._waiting.append(content)
        if len(self._waiting) == self.per_chunk:
            self._write()

    def _write(self) -> None:
        offsets = np.cumsum([0, *map(len, self._waiting)]).astype("<u4")
        content = b"".join([offsets.tobytes(), *self._waiting])
        text = encoded(content, packed=self.packed)
        script = f"captumXG.chunk({json.dumps(self.family)},{self.chunks},{json.dumps(text)});\n"
        path = self.folder / f"{self.family}.{self.chunks:05d}.js"
        self.written += path.write_bytes(script.encode("ascii"))
        self.chunks += 1
        self._waiting = []

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left."""
        if kind is None and self._waiting:
            self._write()

    def told(self) -> dict[str, object]:
        """Return what the page has to know to find an example."""
        return {"name": self.family, "per": self.per_chunk, "chunks": self.chunks, "packed": self.packed}


def encoded(content: bytes, *, packed: bool = True) -> str:
    """Return bytes as base64, deflated first if ``packed``."""
    return base64.b64encode(zlib.compress(content, 6) if packed else content).decode("ascii")


def column(name: str, values: NDArray[Any]) -> dict[str, str]:
    """Return a column of the index: its name, the type of its numbers, and the numbers."""
    plain = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    return {"name": name, "type": plain.dtype.str[1:], "data": encoded(plain.tobytes())}


def singly(values: NDArray[np.float64]) -> NDArray[np.floating[Any]]:
    """Return numbers in 32 bits where these hold all of them, else as they are."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    limits = np.finfo(np.float32)
    held = not len(sizes) or (sizes.max() <= limits.max and sizes.min() >= limits.tiny)
    return values.astype(np.float32) if held else values


def index_script(about: dict[str, object]) -> str:
    """Return the script that opens the page.

    What users named is a JSON text within it: as part of the program, ``__proto__`` would have a meaning.
    """
    return f"captumXG.open({json.dumps(json.dumps(about, allow_nan=False))});\n"
