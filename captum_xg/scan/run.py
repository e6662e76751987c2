"""A run over a data set: what is missing in the folder is explained, shard by shard, until all of it is there.

A run assumes what it has found out at its start: the digest of the settings, among them that of the model, and that the
data are those that some examples of them show. Versions of all tensors of the model are compared at the end of every
shard, before it is written, and its digest at the end of the run, before the index says that the run is complete; a
run whose model has changed without a sign takes back what it has written, so that no later one goes on from there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from captum_xg._core.distributed import rank_and_processes
from captum_xg.datasets.attributions.layout import INDEX, Index, Listed, read_index, shard_path, write_index
from captum_xg.datasets.attributions.shard import OpenShard, Shard, sha256_of
from captum_xg.errors import FileError, ModelStateError
from captum_xg.homogeneity.certificate.cache import versions_of
from captum_xg.scan.batch import WHERE
from captum_xg.scan.claims import Claims
from captum_xg.scan.explaining import Explaining
from captum_xg.scan.progress import Progress
from captum_xg.scan.reading import MapStyle, Read
from captum_xg.scan.resuming import Kept
from captum_xg.scan.settings import numbers_of, require_same
from captum_xg.scan.shards import GrowingShard, Writer
from captum_xg.scan.streaming import Stream


@dataclass(frozen=True)
class Run:
    """A run over a data set.

    Attributes:
        data: The data.
        explaining: How batches are explained.
        forward_func: The model.
        index: What the folder says of the run at its start.
        folder: Where attributions go.
        size: How many positions a shard has.
        shown: Whether to draw a progress bar.
        named: Whether the names of the inputs were given.
    """

    data: MapStyle | Stream
    explaining: Explaining
    forward_func: Any
    index: Index
    folder: Path
    size: int
    shown: bool
    named: bool
    own: set[int] = field(default_factory=set, init=False)
    """First positions of the shards that this run has written."""

    def done(self) -> tuple[int, float]:
        """Do what is missing; return how many examples this process has gone through, and in how many seconds.

        Raises:
            FileError: If the folder belongs to another run, or a file cannot be written.
            ExampleError: If an example ends the run.
            ModelStateError: If the model changes while it is explained.
        """
        began = time.perf_counter()
        with Claims(self.folder, self.size) as claims:
            with claims.index():
                kept = self._begun()
            compared = self._compared()
            if self._is_whole(kept):
                return 0, time.perf_counter() - began
            examples = kept.examples if kept.examples is not None else self.data.examples
            shown = self.shown and rank_of_launch()[0] == 0
            with Progress(self.folder, examples, self.size, shown=shown) as progress:
                self._watched(claims, progress, compared)
            seconds = time.perf_counter() - began
            with claims.index():
                self._completed()
        return progress.own, seconds

    def _begun(self) -> Index:
        """Return the index of the folder, written if there is none, of this run and no other."""
        if not (self.folder / INDEX).exists():
            write_index(self.folder, self.index)
        found = read_index(self.folder)
        require_same(self.folder, found.settings, self.index.settings)
        if self.named and found.inputs != self.index.inputs:
            there, now = (", ".join(map(repr, names)) for names in (found.inputs, self.index.inputs))
            raise FileError(
                f"{self.folder} has attributions of inputs with the names {there}, and not {now}. Leave `names` out, "
                "or give another folder."
            )
        return found

    def _is_whole(self, index: Index) -> bool:
        """Return whether nothing is left to do."""
        return index.complete and all((self.folder / each.file).exists() for each in index.shards)

    def _compared(self) -> Kept:
        """Return what is there, which is of these data and this model as far as can be seen now."""
        kept = Kept(self.folder, self.size, self.index.digest, self.explaining)
        if isinstance(self.data, MapStyle):
            kept.require(self.data)
        else:
            kept.passes(self.data.first)
        return kept

    def _watched(self, claims: Claims, progress: Progress, kept: Kept) -> None:
        """Do what is missing, and take it back if it turns out that nobody knows of which model or data it is."""
        state = versions_of(self.forward_func)
        try:
            self._all(claims, progress, kept, state)
        except BaseException:
            # What this run has written is what the next one would go on from.
            if kept.differs or self._changed(state):
                self._taken_back(claims)
            raise
        if self._changed(state):
            self._taken_back(claims)
            raise ModelStateError(
                f"{WHERE}: the model is not what it was when the run began, although nothing was seen to write to it. "
                "What this run has written was deleted, as it is not known of which state it is. Explain a model that "
                "nobody trains."
            )

    def _changed(self, state: object) -> bool:
        """Return whether the model's numbers are others, without a sign; with one, every shard was looked after."""
        same = numbers_of(self.forward_func) == self.index.settings["model"]
        return not same and versions_of(self.forward_func) == state

    def _taken_back(self, claims: Claims) -> None:
        """Delete the shards that this run has written."""
        with claims.index():
            found = read_index(self.folder)
            if self.own and found.complete:  # by another process
                write_index(self.folder, replace(found, complete=False, shards=()))
            for first in self.own:
                shard_path(self.folder, first).unlink(missing_ok=True)

    def _all(self, claims: Claims, progress: Progress, kept: Kept, state: object) -> None:
        while True:
            before = progress.own
            self._pass(claims, progress, kept, state)
            examples = self.data.examples
            assert examples is not None
            left = next(claims.missing(examples), None)
            if left is None:
                return
            if progress.own == before:  # another process has it; if that dies, it is ours
                claims.wait_for(left)

    def _pass(self, claims: Claims, progress: Progress, kept: Kept, state: object) -> None:
        """Go through the data once, and do what no other process does."""
        rank, processes = rank_of_launch()

        def takes() -> Iterator[int]:
            assert isinstance(self.data, MapStyle)
            start = rank * -(-self.data.examples // self.size) // processes
            yield from filter(claims.take, claims.missing(self.data.examples, start))

        reads = (
            self.data.reads(takes(), self.size)
            if isinstance(self.data, MapStyle)
            else self.data.reads(claims.take, self.size, kept.passes)
        )

        def written(shard: Shard) -> None:
            self.own.add(shard.first)
            claims.release(shard.first)
            progress.shard_done()

        with Writer(self.folder, written) as writer:
            shard: GrowingShard | None = None
            for read in reads:
                if shard is None or shard.first != read.first:
                    shard = self._shard(read.first)
                self._explain(read, shard, progress)
                if read.last:
                    if versions_of(self.forward_func) != state:
                        raise ModelStateError(
                            f"{WHERE}: the model has changed since the run began; parameters or buffers were written "
                            f"to before example {read.stop} was explained. Explain a model that nobody trains."
                        )
                    writer.finish(shard, read.stop)
                    shard = None

    def _explain(self, read: Read, shard: GrowingShard, progress: Progress) -> None:
        refused = 0
        for found in self.explaining.of(read):
            if isinstance(found, tuple):
                shard.add(*found)
            else:
                refused += 1
                shard.refuse((found,))
        count = sum(len(positions) for positions, _ in read.parts) + len(read.unread)
        progress.explained(count, refused)

    def _shard(self, first: int) -> GrowingShard:
        how = self.explaining
        return GrowingShard(first, self.index.digest, how.dtype, tokens=how.texts, summed=how.summed)

    def _completed(self) -> None:
        """List all shards in the index, unless another process has."""
        found = read_index(self.folder)
        if self._is_whole(found):
            return
        examples = self.data.examples
        assert examples is not None
        listed = []
        for first in range(0, examples, self.size):
            path = shard_path(self.folder, first)
            shard = OpenShard(path)
            if shard.run != self.index.digest or (shard.first, shard.stop) != (first, min(first + self.size, examples)):
                raise FileError(f"{path} belongs to another run. Delete it, and run the same command again to redo it.")
            name = path.relative_to(self.folder).as_posix()
            listed.append(Listed(name, first, shard.stop, shard.kept, len(shard.refused), sha256_of(path)))
        write_index(self.folder, replace(found, examples=examples, complete=True, shards=tuple(listed)))


def rank_of_launch() -> tuple[int, int]:
    """Return which of how many processes this is, also where ``torchrun`` has started them and nobody joined them."""
    if dist.is_available() and dist.is_torchelastic_launched() and not dist.is_initialized():
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    return rank_and_processes()
