"""The progress bar of a run: examples done by all processes, rate, and time left."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from captum_xg.datasets.attributions.layout import SHARDS, SUFFIX


class Progress:
    """A bar over the examples of a data set, drawn by the first process. A context manager.

    What other processes finish is seen by their shards in the folder, so that nobody has to be asked.

    Args:
        folder: Of the attributions.
        examples: How many there are; None if that is not known.
        size: How many positions a shard has.
        shown: Whether to draw it.
    """

    def __init__(self, folder: Path, examples: int | None, size: int, *, shown: bool) -> None:
        self._folder, self._examples, self._size = folder, examples, size
        self._own = self._refused = 0
        before = self._there()
        self.before = before if examples is None else min(before, examples)
        self._bar: Any = tqdm(
            total=examples,
            initial=self.before,
            desc="attribute",
            unit="example",
            dynamic_ncols=True,
            disable=not shown,
            leave=False,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def explained(self, count: int, refused: int) -> None:
        """Count examples of this process."""
        self._own += count
        if refused:
            self._refused += refused
            self._bar.set_postfix_str(f"{self._refused} refused", refresh=False)
        self._bar.update(count)

    def shard_done(self) -> None:
        """Count what others have finished in the meantime."""
        if self._bar.disable:
            return
        there = self._there() if self._examples is None else min(self._there(), self._examples)
        if there > self._bar.n:
            self._bar.update(there - self._bar.n)

    @property
    def own(self) -> int:
        """How many examples this process has gone through."""
        return self._own

    def _there(self) -> int:
        return self._size * sum(1 for _ in (self._folder / SHARDS).glob(f"[0-9]*{SUFFIX}"))
