"""The examples themselves: read again from their data set, compared with what was explained, and kept for the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from captum_xg._core.text import in_one_line
from captum_xg.datasets.attributions.example_digest import example_digests
from captum_xg.errors import CaptumXGError, InputError, OptionTypeError
from captum_xg.viewer.chunks import ChunkWriter
from captum_xg.viewer.pictures import as_picture, is_raw, picture_bytes
from captum_xg.viewer.reduction import fitting

_MOST_VALUES = 4096
"""Inputs with more numbers are no tables whose values could be read."""


@dataclass(frozen=True)
class Shown:
    """How examples are shown.

    Attributes:
        small: The most pixels of a side in the grid.
        large: The same in the view of one example.
        mean: What was subtracted from each channel, if pictures were normalised.
        std: What each channel was divided by.
        input: Which of several inputs.
    """

    small: int
    large: int
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    input: int


@dataclass
class Media:
    """Writes pictures, or the values of a table's features, of one example after another.

    Attributes:
        shown: How.
        where: For messages.
    """

    shown: Shown
    where: str
    told: dict[str, Any] = field(default_factory=dict)
    _writers: list[ChunkWriter] = field(default_factory=list)

    def add(self, example: Tensor, folder: Path, stack: ExitStack) -> None:
        """Add an example; the first one says what all are.

        Raises:
            InputError: If one is of another form than the first.
        """
        if not self.told:
            self._begin(example, folder, stack)
        if self.told["kind"] == "none":
            return
        if self.told["kind"] == "values":
            if example.numel() != self.told["count"]:
                raise InputError(f"{self.where}: it has {example.numel()} features, and not {self.told['count']}.")
            self._writers[0].add(example.detach().double().clone().numpy().astype("<f8").tobytes())
            return
        picture = as_picture(example, self.shown.mean, self.shown.std, self.where)
        height, width = picture.shape[1:]
        if [height, width] != self.told["size"] or len(picture) != self.told["channels"]:
            raise InputError(
                f"{self.where}: its picture has the shape {tuple(example.shape)}, unlike the first one. A model is "
                "shown pictures of one size."
            )
        for writer, size in zip(self._writers, (self.told["small"], self.told["large"]), strict=False):
            writer.add(picture_bytes(picture, (size[0], size[1])))

    def _begin(self, example: Tensor, folder: Path, stack: ExitStack) -> None:
        if example.dim() == 1 and example.is_floating_point() and example.numel() <= _MOST_VALUES:
            self.told = {"kind": "values", "count": example.numel()}
            self._writers = [stack.enter_context(ChunkWriter(folder, "values", 8 * example.numel()))]
            return
        if example.dim() not in (2, 3) or not (example.is_floating_point() or example.dim() == 3):
            self.told = {"kind": "none"}
            return
        size = (int(example.shape[-2]), int(example.shape[-1]))
        channels = 3 if example.dim() == 3 and len(example) == 3 else 1
        small = fitting(size, self.shown.small)
        large = fitting(size, max(self.shown.small, self.shown.large))
        self.told = {
            "kind": "picture", "channels": channels, "size": list(size), "small": list(small),
            "large": list(large) if large != small else None,
            "raw": is_raw(small), "largeRaw": is_raw(large),
            "meanOf": len(example) if example.dim() == 3 and len(example) not in (1, 3) else None,
        }  # fmt: skip
        for name, each in (("pictures", small), ("largePictures", large))[: 2 if large != small else 1]:
            pixels = each[0] * each[1] * channels
            raw = is_raw(each)
            writer = ChunkWriter(
                folder, name, pixels if raw else pixels // 6, packed=raw, wanted=2**17 if name == "pictures" else 2**18
            )
            self._writers.append(stack.enter_context(writer))

    @property
    def families(self) -> list[dict[str, object]]:
        """What the page has to know to find an example."""
        return [writer.told() for writer in self._writers]

    @property
    def written(self) -> int:
        """Bytes in chunks."""
        return sum(writer.written for writer in self._writers)


def reread(
    examples: Dataset[Any] | Tensor, ids: NDArray[np.int64], count: int, workers: int, where: str
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the inputs of examples by id, ``count`` tensors each.

    Raises:
        OptionTypeError: If ``examples`` is no data set that can be asked for the i-th example.
        InputError: If it has too few, or an example is not made of tensors.
    """
    data: Any = TensorDataset(examples) if isinstance(examples, Tensor) else examples
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        raise OptionTypeError(
            f"{where}: `examples` must be a data set with a length that gives the i-th example, a tensor (N, …) or "
            f"None, but is {type(examples).__name__}."
        )
    if len(data) <= ids[-1]:
        raise InputError(
            f"{where}: `examples` has {len(data)} examples, but example {ids[-1]} was explained. Give the data that "
            "were explained."
        )
    own = torch.Generator()  # or the loader would take a number from everybody's
    items = iter(DataLoader(Subset(data, ids.tolist()), batch_size=None, num_workers=workers, generator=own))
    for id in ids.tolist():
        try:
            item = next(items)
        except CaptumXGError:
            raise
        except Exception as error:  # data sets of users raise what they like
            raise InputError(f"{where}: example {id} of `examples` cannot be read ({in_one_line(error)}).") from error
        parts = list(item) if isinstance(item, (tuple, list)) else [item]
        inputs = tuple(part for part in parts[:count] if isinstance(part, Tensor))
        if len(inputs) < count:
            raise InputError(f"{where}: example {id} of `examples` does not begin with {count} tensor(s).")
        yield inputs


def require_same(inputs: tuple[Tensor, ...], digest: int, id: int, where: str) -> None:
    """Refuse an example that is not the one that was explained.

    Raises:
        InputError: Then.
    """
    if int(example_digests([each.unsqueeze(0) for each in inputs])) != digest:
        shape = " and ".join(f"{each.dtype} {tuple(each.shape)}" for each in inputs)
        raise InputError(
            f"{where}: example {id} of `examples` ({shape}) is not the one that was explained. Give the same data set "
            "in the same order, normalised alike."
        )
