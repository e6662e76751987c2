"""Attributions of a data set, read from the folder where they lie, example by example or in batches."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from captum_xg._core.options import file_path, one_of, positive_integer
from captum_xg._core.reading import unreadable
from captum_xg.datasets.attributions.columns import forms_of, padded, rows_of
from captum_xg.datasets.attributions.layout import SHARDS, SUFFIX, Listed, read_index, shard_path
from captum_xg.datasets.attributions.packing import unpacked
from captum_xg.datasets.attributions.refused import RefusedExample
from captum_xg.datasets.attributions.shard import OpenShard, sha256_of
from captum_xg.errors import FileError, OptionError

_OPEN = 8
"""How many shards are kept mapped into memory."""
_SINGLE = {"id": "ids", "digest": "digests", "targets": "targets", "outputs": "outputs", "gap": "gap"}
_OPTIONAL = {"label": "labels", "tokens": "tokens", "error": "error", "constants": "constants"}
_NUMBERS = ("id", "digest", "label")


class Attributions(Dataset[dict[str, Any]]):
    r"""Attributions that :func:`captum_xg.explain_dataset` or ``captum-xg attribute`` wrote to a folder.

    A data set over the examples that have attributions, in the order of the data: ``attributions[i]`` is a dict with

    * ``id``: position in the data that were explained, ``digest``: 64 bits of a digest of the example's inputs;
    * ``attributions``: ``(K, …)`` for K targets (K = 1 for one), float32, or float64 where that was asked for; a tuple
      of tensors for several inputs. Of token data ``(K, T)`` or ``(K, T, D)``;
    * ``targets``: ``(K,)``, −1 where the model has a single output; ``outputs``: the model's logits ``(C,)``, float32,
      or float64 of a model of float64;
    * ``gap``: :math:`\sum_i a_i - (F(x) - F(b))`, ``(K,)``, in units of the output, at the baseline b of the method:
      zero, unless it was given another one; NaN where it is not known;
    * ``label``, if any of the data have classes (−1: unknown), and ``tokens``: ``(T,)``, if they are tokens. Every text
      is as long as the longest of the folder, behind its end with −1 for tokens and attributions of zero;
    * ``error``: ``(K,)``, the estimated relative error of what was integrated, 0 in closed form; ``constants``:
      ``(K,)``, what the constants of the model carry, of :class:`~captum_xg.JointXGradient`.

    Files are mapped into memory and read where that is asked for; a ``DataLoader`` with workers may read it.

    Args:
        folder: Where they lie.
        missing: What to do if the run has not come to its end, or shards were deleted: ``"raise"``, or ``"skip"`` to
            read what is there.

    Attributes:
        folder: Where they lie.
        settings: All that the numbers depend on, as the run wrote it down.
        inputs: Names of the inputs.
        complete: Whether all shards are here.

    Raises:
        FileError: If there are none, not all are there, or a file is damaged.
        MissingPackageError: If safetensors is not installed.

    Example:
        >>> scan = Attributions("scan")  # doctest: +SKIP
        >>> scan[0]["attributions"].shape  # doctest: +SKIP
        torch.Size([1, 1, 28, 28])
        >>> scan.refused  # doctest: +SKIP
        ()
    """

    def __init__(self, folder: str | Path, missing: Literal["raise", "skip"] = "raise") -> None:
        self.folder = file_path(folder, "folder", "Attributions")
        one_of(missing, ("raise", "skip"), "missing", "Attributions")
        self._index = read_index(self.folder)
        listed = self._index.shards if self._index.complete else ()
        # By what is on the disk: of a run that goes on, or one that was copied in part.
        found = {path.name: path for path in sorted((self.folder / SHARDS).glob(f"[0-9]*{SUFFIX}"))}
        self.complete = self._index.complete and all(Path(each.file).name in found for each in listed)
        if not self.complete and missing == "raise":
            raise self._unfinished(listed, found)
        self._open: OrderedDict[int, OpenShard] = OrderedDict()
        if self.complete:
            self._paths = [self.folder / each.file for each in listed]
            self._kept = [each.kept for each in listed]
        else:
            self._paths = list(found.values())
            self._kept = [self._belonging(OpenShard(path)).kept for path in self._paths]
        self._ends = np.cumsum([0, *self._kept])

    @property
    def settings(self) -> dict[str, Any]:
        """All that the numbers depend on."""
        return self._index.settings

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return self._index.inputs

    @property
    def command(self) -> dict[str, Any]:
        """What the command line was told of the model and the data; empty where Python has written the folder."""
        return self._index.command

    @property
    def digest(self) -> str:
        """Of the settings: equal for runs whose numbers are the same."""
        return self._index.digest

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, i: int) -> dict[str, Any]:
        place = operator.index(i)
        place += len(self) if place < 0 else 0
        if not 0 <= place < len(self):
            raise IndexError(f"Attributions: there is no example {i} among {len(self)}")
        number = int(np.searchsorted(self._ends, place, side="right")) - 1
        row = place - int(self._ends[number])
        batch = self._rows(number, row, row + 1)
        return {name: _only(value, name in _NUMBERS) for name, value in batch.items()}

    def batches(self, size: int) -> Iterator[dict[str, Any]]:
        """Yield the examples in order, at most ``size`` at a time, as dicts like those of single ones.

        Every value has a dimension in front, also ``id`` and ``label``. A batch never reaches over two shards, so that
        no more than its rows are in memory.
        """
        most = positive_integer(size, "size", "Attributions.batches")
        for number, kept in enumerate(self._kept):
            for start in range(0, kept, most):
                yield self._rows(number, start, min(start + most, kept))

    @cached_property
    def ids(self) -> Tensor:
        """Positions of the examples in the data that were explained, int64 ``(n,)``, ascending."""
        return self._column("ids")

    @cached_property
    def digests(self) -> Tensor:
        """64 bits of a digest of each example's inputs, int64 ``(n,)``."""
        return self._column("digests")

    @cached_property
    def targets(self) -> Tensor:
        """Which outputs were explained, int64 ``(n, K)``; −1 where there is a single one."""
        return self._column("targets")

    @cached_property
    def outputs(self) -> Tensor:
        """What the model gives for each example, ``(n, C)``; float32, or float64 of a model of float64."""
        return self._column("outputs")

    @cached_property
    def gaps(self) -> Tensor:
        """Σ attributions − (F(x) − F(baseline)), ``(n, K)``, in units of the output; of the dtype of the outputs."""
        return self._column("gap")

    @cached_property
    def labels(self) -> Tensor | None:
        """Classes of the examples, int64 ``(n,)``, −1 where unknown; None where the data have none."""
        return self._column("labels") if "labels" in self._forms else None

    @cached_property
    def errors(self) -> Tensor | None:
        """Estimated relative errors of what was integrated, 0 in closed form, ``(n, K)``; None where nothing was."""
        return self._column("error") if "error" in self._forms else None

    @cached_property
    def predictions(self) -> Tensor:
        """The largest output of each example, int64 ``(n,)``; −1 where there is a single one."""
        outputs = self.outputs
        if outputs.shape[1:] == (1,):
            return torch.full((len(outputs),), -1)
        return outputs.argmax(1) if outputs.numel() else torch.empty(0, dtype=torch.int64)

    @cached_property
    def refused(self) -> tuple[RefusedExample, ...]:
        """The examples that there are no attributions of, with the reason."""
        return tuple(each for number in range(len(self._paths)) for each in self._shard(number).refused)

    @property
    def input_shape(self) -> tuple[int, ...] | tuple[tuple[int, ...], ...]:
        """The shape of an example's attributions for one target; one for each input where there are several.

        Raises:
            FileError: If no example has attributions.
        """
        if not self._forms:
            raise FileError(f"{self.folder}: no example has attributions; all {len(self.refused)} were refused.")
        shapes = tuple(self._forms[name][1:] for name in self._names)
        return shapes if len(shapes) > 1 else shapes[0]

    def index(self, id: int) -> int:
        """Return the place among these of the example at a position of the data that were explained.

        Raises:
            OptionError: If it has no attributions, with the reason.
        """
        place = int(torch.searchsorted(self.ids, id))
        if place < len(self) and int(self.ids[place]) == id:
            return place
        refused = next((each for each in self.refused if each.id == id), None)
        why = "it is none of the data" if refused is None else f"{refused.kind}: {refused.reason}"
        raise OptionError(f"Attributions.index: example {id} has no attributions: {why}")

    def verify(self) -> None:
        """Read every shard and compare it with its digest in the index.

        Raises:
            FileError: If one is not as it was written, or the run has not come to its end.
        """
        if not self.complete:
            raise FileError(f"{self.folder} is not complete, so there are no digests to compare with.")
        for each in self._index.shards:
            path = self.folder / each.file
            if sha256_of(path) != each.sha256:
                raise unreadable(
                    path, "it is not as it was written", "Delete it, and run the same command again to redo it."
                )

    def __getstate__(self) -> dict[str, Any]:
        # By path: what is mapped belongs to a process.
        return {**self.__dict__, "_open": OrderedDict()}

    @property
    def _names(self) -> list[str]:
        several = len(self.inputs) > 1
        return [f"attributions.{i}" for i in range(len(self.inputs))] if several else ["attributions"]

    @cached_property
    def _forms(self) -> dict[str, tuple[int, ...]]:
        """What columns there are, and the largest shape that an example has in each."""
        return forms_of(self._belonging(OpenShard(path)) for path in self._paths)

    def _rows(self, number: int, start: int, stop: int) -> dict[str, Any]:
        shard, forms = self._shard(number), self._forms
        columns = {**_SINGLE, **{name: column for name, column in _OPTIONAL.items() if column in forms}}
        found: dict[str, Any] = {
            name: rows_of(shard, column, forms.get(column, ()), start, stop).clone() for name, column in columns.items()
        }
        scales = shard.rows("scales", start, stop) if "scales" in shard.names else None
        parts = []
        for i, name in enumerate(self._names):
            own = scales[:, :, i] if scales is not None and scales.dim() == 3 else scales
            parts.append(padded(name, unpacked(shard.rows(name, start, stop), own), forms.get(name, ())))
        found["attributions"] = tuple(parts) if len(parts) > 1 else parts[0]
        return found

    def _column(self, name: str) -> Tensor:
        form = self._forms.get(name, ())
        parts = [rows_of(self._shard(number), name, form) for number, kept in enumerate(self._kept) if kept]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)

    def _shard(self, number: int) -> OpenShard:
        found = self._open.get(number)
        if found is None:
            found = self._belonging(OpenShard(self._paths[number]))
            if found.kept != self._kept[number]:
                raise unreadable(found.path, "it holds other examples than the index says")
            self._open[number] = found
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return found

    def _belonging(self, shard: OpenShard) -> OpenShard:
        if shard.run != self._index.digest:
            raise unreadable(shard.path, "it belongs to another run than the index", "Delete the one that is foreign.")
        if shard.path.name != shard_path(self.folder, shard.first).name:
            raise unreadable(shard.path, f"it is the shard of example {shard.first}", "Give it the name that it had.")
        return shard

    def _unfinished(self, listed: tuple[Listed, ...], found: dict[str, Path]) -> FileError:
        advice = "Run the same command again to go on, or pass missing='skip' to read what is there."
        if not self._index.complete:
            return FileError(f"{self.folder}: the run has not come to its end; {len(found)} shards are there. {advice}")
        gone = [each.file for each in listed if Path(each.file).name not in found]
        return FileError(f"{self.folder}: {len(gone)} of {len(listed)} shards are gone, first {gone[0]}. {advice}")


def _only(value: Any, number: bool) -> Any:
    """Return the only row of a column, or of several."""
    if isinstance(value, tuple):
        return tuple(part[0] for part in value)
    return int(value[0]) if number else value[0]
