"""What a folder has already, compared with the data and the model that are to complete it.

Settings hold digests of some examples, of the model's numbers and of its code. Neither says all: a data set may differ
between the examples that were looked at, and a model may do something else without a sign. So of every shard that is
there an example is read again and its digest compared, and of the first and the last one a batch is explained again and
its outputs are compared, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from captum_xg.attr.observed import Observed
from captum_xg.datasets.attributions.layout import SHARDS, SUFFIX, shard_path
from captum_xg.datasets.attributions.shard import OpenShard
from captum_xg.errors import FileError
from captum_xg.scan.batch import Batch, batch_of
from captum_xg.scan.explaining import Explaining
from captum_xg.scan.reading import MapStyle, Read
from captum_xg.scan.shards import ARGUMENTS

_ROUNDING = 4
"""How many times the root of the last binary digit outputs may differ, relative to the largest ones of the batch."""
_BATCHES = 2
"""Of how many shards of a stream outputs are compared as they pass."""


class Kept:
    """The shards that are in a folder.

    Args:
        folder: The folder.
        size: How many positions a shard has.
        run: The digest of the settings; shards of others are left to those who list them.
        explaining: How batches are explained.

    Attributes:
        differs: Whether it turned out that they are of other data, or of another model.
    """

    def __init__(self, folder: Path, size: int, run: str, explaining: Explaining) -> None:
        self._folder, self._size, self._run = folder, size, run
        self._explaining = replace(explaining, on_violation="record")
        self.differs = False
        self._open: OpenShard | None = None
        self._explained: set[int] = set()

    def require(self, data: MapStyle) -> None:
        """Refuse data or a model that are not those of the shards.

        Raises:
            FileError: If they are not.
        """
        there = list(self._there())
        for shard in there:
            ids = shard.rows("ids")
            position = int(ids[len(ids) // 2])
            if not self._has(data, [position], shard):
                # Texts may be filled up to the longest of their batch.
                start = position // data.batch_size * data.batch_size
                batch = range(start, min(start + data.batch_size, data.examples))
                if not self._has(data, list(batch), shard, position):
                    raise self._other_data(position)
        for shard in there[:: max(len(there) - 1, 1)]:
            start = int(shard.rows("ids")[0]) // data.batch_size * data.batch_size
            parts, _ = data.at(range(start, min(start + data.batch_size, data.examples)))
            for positions, content in parts:
                self._require_all(batch_of(content, positions, self._explaining.split), shard)

    def passes(self, batch: Batch) -> None:
        """Compare a batch of a stream with what is kept of it, if anything is.

        Raises:
            FileError: If it, or the model, is another one.
        """
        first = batch.positions[0] // self._size * self._size
        path = shard_path(self._folder, first)
        if self._open is None or self._open.path != path:
            if not path.exists():  # another process is at work on it
                return
            self._open = OpenShard(path)
        if self._open.run != self._run or not self._open.kept:
            return
        outputs = first not in self._explained and len(self._explained) < _BATCHES
        self._require_all(batch, self._open, outputs=outputs)
        if outputs:
            self._explained.add(first)

    def _there(self) -> Iterator[OpenShard]:
        for path in sorted((self._folder / SHARDS).glob(f"[0-9]*{SUFFIX}")):
            shard = OpenShard(path)
            if shard.run == self._run and shard.kept:
                yield shard

    def _has(self, data: MapStyle, positions: list[int], shard: OpenShard, asked: int | None = None) -> bool:
        """Return whether an example, read with others or alone, is the one that was explained."""
        asked = positions[0] if asked is None else asked
        parts, _ = data.at(positions)
        found = [batch_of(content, own, self._explaining.split) for own, content in parts if asked in own]
        return bool(found) and self._is(found[0], asked, shard) is True

    def _is(self, batch: Batch, position: int, shard: OpenShard) -> bool | None:
        """Return whether an example is the one that was explained; None if it was refused."""
        row = _row(shard, position)
        if row is None:
            return None
        i = batch.positions.index(position)
        pairs = [("digests", batch.digests())]
        if batch.additional and ARGUMENTS in shard.names:
            pairs.append((ARGUMENTS, batch.argument_digests()))
        return all(int(now[i]) == int(shard.rows(name)[row]) for name, now in pairs)

    def _require_all(self, batch: Batch, shard: OpenShard, *, outputs: bool = True) -> None:
        for position in batch.positions:
            if self._is(batch, position, shard) is False:
                raise self._other_data(position)
        if outputs:
            self._require_outputs(batch, shard)

    def _require_outputs(self, batch: Batch, shard: OpenShard) -> None:
        read = Read(shard.first, batch.positions[-1] + 1, [(batch.positions, batch)], (), False)
        for found in self._explaining.of(read):
            if isinstance(found, tuple):
                rows = [_row(shard, position) for position in found[0].positions]
                kept = [row for row in rows if row is not None]
                same = len(kept) == len(rows) and _alike(found[1], shard.rows("outputs")[torch.tensor(kept)])
            else:
                same = _row(shard, found.id) is None
            if not same:
                self.differs = True
                raise FileError(
                    f"{self._folder} has attributions of another model: outputs of examples "
                    f"{batch.positions[0]} to {batch.positions[-1]} are not those that the model gives now, although "
                    "its numbers and its code are the same as far as can be seen. Give another folder, or delete this "
                    "one to begin anew."
                )

    def _other_data(self, position: int) -> FileError:
        self.differs = True
        return FileError(
            f"{self._folder} has attributions of other data: example {position} is not the one that was explained. "
            "Give another folder, or delete this one to begin anew."
        )


def _row(shard: OpenShard, position: int) -> int | None:
    """Return the row of an example in a shard; None if it has none."""
    ids = shard.rows("ids")
    row = int(torch.searchsorted(ids, position))
    return row if row < len(ids) and int(ids[row]) == position else None


def _alike(found: Observed, kept: Tensor) -> bool:
    """Return whether outputs are those that were kept, to rounding."""
    now = found.outputs.to("cpu")
    if now.shape != kept.shape:
        return False
    digit = max(torch.finfo(now.dtype).eps, torch.finfo(torch.float32).eps)
    now = now.double()
    bound = _ROUNDING * digit**0.5 * max(float(kept.abs().max()), float(now.abs().max()))
    return bool(((now - kept.double()).abs() <= bound).all())
