"""A shard that grows batch by batch, and the thread that writes it while the model goes on.

The disk, which is to have all of a shard before its name appears, is the thread's alone. Digests and 16 bits are not:
they take a hundredth of the model's time, and a second thread of Python holds up the first by more where processors are
busy. At most one shard waits while another one is written, so that memory does not grow with the data, and a disk that
is full ends the run within these.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from captum_xg.attr.observed import Observed
from captum_xg.datasets.attributions.layout import NO_LABEL, NO_TOKEN, shard_path
from captum_xg.datasets.attributions.packing import packed
from captum_xg.datasets.attributions.refused import RefusedExample
from captum_xg.datasets.attributions.shard import Shard, write_shard
from captum_xg.errors import FileError, ForwardOutputError
from captum_xg.scan.batch import WHERE, Batch

ARGUMENTS = "arguments"
"""The column of digests of what follows the inputs in a call, apart from ``digests``, which readers compare."""
_AHEAD = 1


class GrowingShard:
    """The examples of one shard, in order.

    Args:
        dtype: Of the attributions as they are kept.
        tokens: Whether the inputs are tokens, and kept.
        summed: Whether attributions are summed over their last dimension.
    """

    def __init__(self, first: int, run: str, dtype: torch.dtype, *, tokens: bool, summed: bool) -> None:
        self.first, self._run, self._dtype = first, run, dtype
        self._tokens, self._summed = tokens, summed
        self._columns: list[dict[str, Tensor]] = []
        self._refused: list[RefusedExample] = []

    def add(self, batch: Batch, found: Observed) -> None:
        """Add what a batch came to."""
        # Outputs of a float64 model in 32 bits could have another largest one, or none that is finite.
        precise = torch.float64 if found.outputs.dtype == torch.float64 else torch.float32
        columns = {
            "ids": torch.tensor(batch.positions, dtype=torch.int64),
            "digests": batch.digests(),
            "targets": found.targets.to("cpu", torch.int64),
            "outputs": found.outputs.to("cpu", precise),
            "gap": found.gap.to("cpu", precise),
            **{name: column.to("cpu", precise) for name, column in found.further.items()},
        }
        if batch.labels is not None:
            columns["labels"] = batch.labels
        if batch.additional:
            columns[ARGUMENTS] = batch.argument_digests()
        if self._tokens:
            columns["tokens"] = batch.inputs[0].to("cpu", torch.int64)
        scales = []
        for i, attributions in enumerate(found.attributions):
            name = "attributions" if len(found.attributions) == 1 else f"attributions.{i}"
            numbers = (attributions.sum(-1) if self._summed else attributions).to("cpu")
            if self._dtype == torch.float16:
                columns[name], scale = packed(numbers)
                scales.append(scale)
            else:
                columns[name] = numbers.to(self._dtype)
        if scales:
            columns["scales"] = scales[0] if len(scales) == 1 else torch.stack(scales, 2)
        self._columns.append(columns)

    def refuse(self, refused: tuple[RefusedExample, ...]) -> None:
        """Add examples that there are no attributions of."""
        self._refused.extend(refused)

    def finished(self, stop: int) -> Shard:
        """Return the shard, which ends before a position."""
        names = dict.fromkeys(name for columns in self._columns for name in columns)
        parts = {name: [_filled(name, columns) for columns in self._columns] for name in names}
        columns = {name: torch.cat(_padded(name, column)) for name, column in parts.items()}
        refused = tuple(sorted(self._refused, key=lambda each: each.id))
        return Shard(self.first, stop, self._run, columns or _empty(), refused)


def require_storable(found: Observed, dtype: torch.dtype, *, summed: bool) -> None:
    """Refuse attributions that are not finite as they are kept, or only before they are summed.

    Raises:
        ForwardOutputError: If they are too large for the dtype.
    """
    if dtype == torch.float64 and not summed:
        return
    # What is beyond rounds to 2¹²⁸, where float32 ends, also where 11 digits of it are beside a scale.
    digits = {torch.float16: 12, torch.float32: 25}
    end = 2.0**128 * (1 - 2.0 ** -digits[dtype]) if dtype in digits else float("inf")
    for attributions in found.attributions:
        numbers = attributions.sum(-1) if summed else attributions
        if not numbers.numel():
            continue
        least, most = torch.aminmax(numbers)
        if not max(-float(least), float(most)) < end:  # nor if they are NaN
            raise ForwardOutputError(
                f"{WHERE}: attributions are too large for {str(dtype).removeprefix('torch.')}. dtype='float64' "
                "(--dtype float64) of a float64 model keeps them."
            )


def _filled(name: str, columns: dict[str, Tensor]) -> Tensor:
    """Return a column of one batch, filled where only others have it.

    Closed forms have no estimated error, which is zero, and some batches no labels, which are unknown.
    """
    found = columns.get(name)
    if found is not None:
        return found
    if name == "labels":
        return torch.full_like(columns["ids"], NO_LABEL)
    return torch.zeros_like(columns["ids" if name == ARGUMENTS else "gap"])


def _padded(name: str, parts: list[Tensor]) -> list[Tensor]:
    """Return batches of texts with the length of the longest: attributions of zero, and no token."""
    if len({part.shape[1:] for part in parts}) == 1:
        return parts
    longest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    filled = []
    for part in parts:
        whole = torch.full((len(part), *longest), NO_TOKEN if name == "tokens" else 0, dtype=part.dtype)
        whole[tuple(map(slice, part.shape))] = part
        filled.append(whole)
    return filled


def _empty() -> dict[str, Tensor]:
    """Return the columns of a shard in which every example was refused, which has no shapes to tell."""
    whole = torch.empty(0, dtype=torch.int64)
    floats = torch.empty(0, 1)
    return {"ids": whole, "digests": whole, "targets": whole.reshape(0, 1), "outputs": floats, "gap": floats}


class Writer:
    """A thread that does what it is handed, in order. A context manager, which waits for it at its end.

    Args:
        folder: Of the attributions.
        written: Called with each shard once it is on the disk.
    """

    def __init__(self, folder: Path, written: Callable[[Shard], None]) -> None:
        self._folder, self._written = folder, written
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(_AHEAD)
        self._thread = threading.Thread(target=self._work, name="captum-xg writer", daemon=True)
        self._failed: Exception | None = None

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also after an error elsewhere: what is finished is written before the run ends.
        self._waiting.put(None)
        self._thread.join()
        if error is None:
            self._raise()

    def finish(self, shard: GrowingShard, stop: int) -> None:
        """Write a shard.

        Raises:
            FileError: If an earlier shard could not be written.
        """

        def write() -> None:
            whole = shard.finished(stop)
            try:
                write_shard(shard_path(self._folder, whole.first), whole)
            except FileError as error:
                raise FileError(
                    f"{error} What was finished before is kept. Make room or give the rights that are missing, and run "
                    f"the same command again: it goes on with example {whole.first}."
                ) from error
            self._written(whole)

        self._hand(write)

    def _hand(self, task: Callable[[], None]) -> None:
        self._raise()
        self._waiting.put(task)

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            if self._failed is not None:
                continue
            try:
                task()
            except Exception as error:
                self._failed = error

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed
