"""Examples of any iterable of batches, which is gone through from its beginning and explained where that is missing.

It is always one batch ahead, to know the last one when it comes; so every batch is copied, as some iterables fill the
same memory again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from captum_xg._core.batches import numbered, require_batches
from captum_xg._core.text import in_one_line
from captum_xg.datasets.attributions.example_digest import example_digests
from captum_xg.errors import CaptumXGError, OptionError
from captum_xg.scan.batch import WHERE, Batch, Split, batch_of, parts_of
from captum_xg.scan.errors import ExampleError
from captum_xg.scan.reading import Read


class Stream:
    """An iterable of batches, of one size but for the last.

    Args:
        loader: The iterable.
        split: What takes its batches apart.

    Attributes:
        examples: How many examples there are; None as long as it was not gone through.
        batch_size: That of the first batch.
        batches: How many there are, if the iterable says so.
    """

    def __init__(self, loader: Iterable[Any], split: Split | None) -> None:
        require_batches(loader, WHERE)
        self._loader, self._split = loader, split
        self._iterator = numbered(loader, WHERE)
        self.examples: int | None = None
        self.batches = _length(loader)
        self._second: Batch | None = None
        self._first = self._next(0)
        if self._first is None:
            raise OptionError(f"{WHERE}: the loader gives no batch.")
        self.batch_size = len(self._first)
        if isinstance(loader, DataLoader) and isinstance(loader.dataset, IterableDataset) and loader.num_workers > 1:
            self._second = self._next(self.batch_size)
            if self._second is not None and _same(self._first, self._second):
                raise OptionError(
                    f"{WHERE}: two workers of the loader give the same batch: each of them goes through all of the "
                    "data set. Share it out by torch.utils.data.get_worker_info() in its __iter__, or make the loader "
                    "with one worker."
                )

    @property
    def first(self) -> Batch:
        """The first batch."""
        assert self._first is not None
        return self._first

    def reads(self, takes: Callable[[int], bool], size: int, passes: Callable[[Batch], None]) -> Iterator[Read]:
        """Yield the batches of the shards that are taken, in order.

        Args:
            takes: Whether to take the shard that begins at a position.
            size: How many positions a shard has.
            passes: Called with each batch of the others.

        Raises:
            ExampleError: If the iterable raises, or gives batches of different sizes.
        """
        batch = self._beginning()
        start, mine = 0, False
        while batch is not None:
            if start % size == 0:
                mine = takes(start)
            first, stop = start // size * size, start + len(batch)
            following = self._next(stop)
            if following is not None and len(batch) != self.batch_size:
                raise ExampleError(
                    f"{WHERE}: the batch of examples {start} to {stop - 1} has {len(batch)} of them, and the first has "
                    f"{self.batch_size}. Only the last batch may be smaller.",
                    start,
                )
            if mine:
                last = stop == first + size or following is None
                yield Read(first, stop, [(batch.positions, batch)], (), last)
            else:
                passes(batch)
            batch, start = following, stop
        self.examples = start

    def _beginning(self) -> Batch | None:
        if self._first is None:
            if iter(self._loader) is self._loader:
                raise OptionError(
                    f"{WHERE}: another process did not finish what it had begun, and this loader, an iterator, cannot "
                    "be gone through again. Run the same command once more."
                )
            self._iterator = numbered(self._loader, WHERE)
            self._first = self._next(0)
        batch, self._first = self._first, None
        return batch

    def _next(self, start: int) -> Batch | None:
        """Return the batch that begins with an example."""
        if self._second is not None:
            found, self._second = self._second, None
            return found
        try:
            _, content = next(self._iterator)
        except StopIteration:
            return None
        except CaptumXGError:
            raise
        except Exception as error:
            raise ExampleError(
                f"{WHERE}: the loader fails at the batch that begins with example {start}: {in_one_line(error)}", start
            ) from error
        count = len(parts_of(content, self._split)[0][0])
        return batch_of(content, tuple(range(start, start + count)), self._split).copied()


def _same(one: Batch, other: Batch) -> bool:
    """Return whether two batches hold the same examples, which are not all one."""
    digests = example_digests(one.inputs).tolist()
    labels = [None if each.labels is None else each.labels.tolist() for each in (one, other)]
    return len(set(digests)) > 1 and digests == example_digests(other.inputs).tolist() and labels[0] == labels[1]


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except Exception:  # of data sets that do not know it
        return None
