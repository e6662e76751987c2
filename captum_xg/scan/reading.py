"""Examples of a data set with map-style access, read in parts that this process has taken, and nothing else.

A loader is taken apart: its data set, workers, ``collate_fn`` and memory options are used, with a sampler that yields
the batches of shards to be done, in order. What is finished is not read again. An example that cannot be read is caught
where it is read, in the worker, so that the others of its batch are not lost and the loader lives on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, DistributedSampler, IterableDataset, SequentialSampler

from captum_xg._core.text import in_one_line
from captum_xg.datasets.attributions.refused import RefusedExample
from captum_xg.errors import OptionError
from captum_xg.scan.batch import WHERE

Positions: TypeAlias = tuple[int, ...]
Unread: TypeAlias = tuple[int, str, str]
"""Position, kind and text of an error, plain so that every worker can hand it over."""
Collated: TypeAlias = tuple[list[tuple[Positions, Any]], list[Unread]]


@dataclass(frozen=True)
class Failure:
    """What came in place of an example that could not be read."""

    kind: str
    reason: str


class Numbered(Dataset[tuple[int, Any]]):
    """A data set whose examples come with their positions, or with what went wrong in their place."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, position: int) -> tuple[int, Any]:
        try:
            return position, _present(self._dataset[position])
        except Exception as error:  # whatever a damaged file leads its decoder to
            return position, Failure(type(error).__name__, _text(error))

    def __getitems__(self, positions: list[int]) -> list[tuple[int, Any]]:
        """Return examples that a data set gives together faster than one by one."""
        together = getattr(self._dataset, "__getitems__", None)
        if callable(together):
            try:
                found = together(positions)
                return list(zip(positions, map(_present, found), strict=True))
            except Exception:  # which one it was shows one by one
                pass
        return [self[position] for position in positions]


def _present(example: Any) -> Any:
    """Return an example, or a failure in place of None, by which data sets say that there is none."""
    return Failure("InputError", "the data set gives None in its place.") if example is None else example


class Together:
    """A ``collate_fn`` that puts examples together that could be read."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self._collate = collate

    def __call__(self, examples: Sequence[tuple[int, Any]]) -> Collated:
        """Return examples put together with their positions, and what could not be read."""
        good = [(position, item) for position, item in examples if not isinstance(item, Failure)]
        unread = [(position, item.kind, item.reason) for position, item in examples if isinstance(item, Failure)]
        if not good:
            return [], unread
        try:
            return [(tuple(position for position, _ in good), self._collate([item for _, item in good]))], unread
        except Exception:
            pass
        # Which one it was shows one by one. If none, they are of different sizes, and each is a batch of its own.
        apart: list[tuple[Positions, Any]] = []
        for position, item in good:
            try:
                apart.append(((position,), self._collate([item])))
            except Exception as error:
                unread.append((position, type(error).__name__, _text(error)))
        return apart, unread


@dataclass(frozen=True)
class Read:
    """What came of the positions of one batch.

    Attributes:
        first: Where the shard of these positions begins.
        stop: One behind the last of these positions.
        parts: Positions and content; more than one where examples could not be put together.
        unread: The examples that could not be read.
        last: Whether it is the last of its shard.
    """

    first: int
    stop: int
    parts: list[tuple[Positions, Any]]
    unread: tuple[RefusedExample, ...]
    last: bool


@dataclass(frozen=True)
class MapStyle:
    """A loader of a data set whose examples can be asked for by their positions.

    Attributes:
        loader: The loader.
        batch_size: Its batch size.
        examples: How many examples there are.
        batches: How many batches, where only that is known.
    """

    loader: DataLoader[Any]
    batch_size: int
    examples: int
    batches: int | None = None

    def at(self, positions: Sequence[int]) -> Collated:
        """Return examples that are read here and now."""
        dataset = Numbered(self.loader.dataset)
        return Together(self.loader.collate_fn)(dataset.__getitems__(list(positions)))

    def reads(self, shards: Iterator[int], size: int) -> Iterator[Read]:
        """Yield the batches of shards, in order.

        Args:
            shards: Their first positions, asked for as workers come to them.
            size: How many positions a shard has.
        """
        batches = _Batches(shards, size, self.batch_size, self.examples)
        for parts, unread in self._own_loader(batches):
            positions = [position for own, _ in parts for position in own] + [each[0] for each in unread]
            first, stop = min(positions) // size * size, max(positions) + 1
            last = stop == min(first + size, self.examples)
            yield Read(first, stop, parts, tuple(RefusedExample(*each) for each in unread), last)

    def _own_loader(self, batches: Any) -> DataLoader[Any]:
        old = self.loader
        workers: dict[str, Any] = {}
        if old.num_workers:
            workers = {"prefetch_factor": old.prefetch_factor, "multiprocessing_context": old.multiprocessing_context}
        return DataLoader(
            Numbered(old.dataset),
            batch_sampler=batches,
            collate_fn=Together(old.collate_fn),
            num_workers=old.num_workers,
            pin_memory=old.pin_memory,
            timeout=old.timeout,
            worker_init_fn=old.worker_init_fn,
            generator=torch.Generator(),  # of its own: seeds for workers are not taken from what the user draws from
            **workers,
        )


class _Batches:
    """A batch sampler over the shards that this process takes: fixed positions, whoever takes them."""

    def __init__(self, shards: Iterator[int], size: int, batch_size: int, examples: int) -> None:
        self._shards, self._size, self._batch_size, self._examples = shards, size, batch_size, examples

    def __iter__(self) -> Iterator[list[int]]:
        for first in self._shards:
            stop = min(first + self._size, self._examples)
            for start in range(first, stop, self._batch_size):
                yield list(range(start, min(start + self._batch_size, stop)))


def map_style(loader: object) -> MapStyle | None:
    """Return a loader whose data set can be asked for any example; None for other iterables of batches.

    Raises:
        OptionError: If it goes through its data in an order of its own, or leaves some out.
    """
    if not isinstance(loader, DataLoader):
        return None
    batches: Any = loader.batch_sampler
    drops = loader.drop_last or getattr(batches, "drop_last", False)
    if isinstance(loader.dataset, IterableDataset):
        if drops:
            raise OptionError(f"{WHERE}: the loader drops what does not fill a batch. Make it with drop_last=False.")
        return None
    if type(batches) not in (BatchSampler, type(None)):
        raise OptionError(_order("batches of a sampler of its own", "batch_size=… in place of batch_sampler"))
    # Where a batch sampler was passed, the loader has another sampler, which it does not ask.
    sampler: Any = loader.sampler if batches is None else batches.sampler
    if isinstance(sampler, DistributedSampler):
        raise OptionError(
            f"{WHERE}: the loader has a DistributedSampler, which gives each process a part. Leave it out: processes "
            "that torchrun started share the examples here by themselves, and each of them gets the whole loader."
        )
    if type(sampler) is not SequentialSampler:
        remedy = "shuffle=False" if type(sampler).__name__ == "RandomSampler" else "no sampler, and a Subset"
        raise OptionError(_order(f"the order of a {type(sampler).__name__}", remedy))
    examples, asked = len(loader.dataset), len(sampler)  # type: ignore[arg-type]  # its sampler has asked as well
    if examples == 0:
        raise OptionError(f"{WHERE}: the data set of the loader is empty.")
    if asked != examples:
        raise OptionError(
            f"{WHERE}: the loader's sampler is made for {asked} examples, and its data set has {examples}. Make it "
            "with no sampler, and a Subset."
        )
    if drops and batches is not None and examples % batches.batch_size:
        raise OptionError(
            f"{WHERE}: the loader drops the last {examples % batches.batch_size} examples. Make it with "
            "drop_last=False."
        )
    if batches is None or type(loader).__iter__ is not DataLoader.__iter__:
        return None  # items that are batches, or batches that the loader itself makes something else of
    return MapStyle(loader, batches.batch_size, examples)


def _order(what: str, remedy: str) -> str:
    return (
        f"{WHERE}: the loader gives {what}, but attributions are kept by the position of their example, which must be "
        f"the same each time. Make it with {remedy}."
    )


def _text(error: Exception) -> str:
    said = in_one_line(error)
    return said.removeprefix(f"{type(error).__name__}: ")
