"""Which run explains which shard: each takes one that is neither there nor taken, by a lock on one byte of a file.

The lock of a shard is a byte range of ``DIR/.claims``, which the system lets go of when a process ends, however it
ends. So processes need not talk to each other nor wait for one that is dead, several runs in one folder share the work,
and what a process leaves behind is taken by whoever comes next. Where a file system has no locks, every process works
on all that is missing, from a place of its own on: some of it is done twice then, to the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from captum_xg._core.files import make_folder
from captum_xg.datasets.attributions.layout import SHARDS, shard_path
from captum_xg.scan.locks import Locks

LOCKS = ".claims"
_INDEX = 2**40
"""The byte of the index, behind those of all shards."""


class Claims:
    """The shards of a folder, and those among them that this run has taken. A context manager.

    Args:
        folder: Of the attributions; must be there.
        size: How many positions a shard has.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        make_folder(folder / SHARDS)
        self._locks: Locks | None = None

    def __enter__(self) -> Claims:
        self._locks = Locks(self.folder / LOCKS)
        self._clear()
        return self

    def __exit__(self, *_: object) -> None:
        if self._locks is not None:
            self._locks.close()

    def there(self, first: int) -> bool:
        """Return whether the shard of a position is there."""
        return shard_path(self.folder, first).exists()

    def take(self, first: int) -> bool:
        """Take the shard that begins at a position, unless it is there or another process has it."""
        if self.there(first) or not self._locked(first, wait=False):
            return False
        if self.there(first):  # finished between the look and the lock
            self.release(first)
            return False
        return True

    def release(self, first: int) -> None:
        """Let go of a shard."""
        if self._locks is not None:
            self._locks.release(first // self.size)

    def wait_for(self, first: int) -> None:
        """Wait until the process that has a shard lets go of it, finished or not."""
        if self._locked(first, wait=True):
            self.release(first)

    @contextmanager
    def index(self) -> Iterator[None]:
        """Have the index to oneself."""
        self._locked(_INDEX * self.size, wait=True)
        try:
            yield
        finally:
            self.release(_INDEX * self.size)

    def missing(self, examples: int, start: int = 0) -> Iterator[int]:
        """Yield the first positions of shards that are not there, in a circle from a share of the way on.

        Args:
            examples: How many examples the data have.
            start: Number of the shard to begin with.
        """
        shards = -(-examples // self.size)
        for i in range(shards):
            first = (start + i) % shards * self.size
            if not self.there(first):
                yield first

    def _locked(self, first: int, *, wait: bool) -> bool:
        return self._locks is None or self._locks.take(first // self.size, wait=wait)

    def _clear(self) -> None:
        """Delete what processes that were killed left half written, if no other one is at work here."""
        if self._locks is None or not self._locks.alone():
            return
        for path in (*self.folder.glob(".captum-xg-*"), *(self.folder / SHARDS).glob(".captum-xg-*")):
            with suppress(OSError):  # such as that it is a folder
                os.unlink(path)
        self._locks.share()
