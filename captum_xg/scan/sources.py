"""Data that are named on a command line: opened for a run, and opened again for those who look at its results.

demo, fashion-mnist:ROOT, FILE.npz        labelled examples, as the other commands take them
FILE.npy, FILE.pt                         inputs alone
DIR/class/*.jpg, DIR/*.jpg                pictures in one folder for each class, or in one alone; read one by one
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision.datasets.folder import IMG_EXTENSIONS

from captum_xg._core.reading import read_arrays
from captum_xg._core.text import in_one_line
from captum_xg.datasets.arrays import read_examples
from captum_xg.datasets.attributions.example_digest import example_digests
from captum_xg.datasets.attributions.reader import Attributions
from captum_xg.datasets.evaluation import labelled_examples, picture_at, picture_transform
from captum_xg.datasets.fashion_mnist import CLASSES
from captum_xg.errors import FileError, OptionError

Example = tuple[Tensor, ...]


class Pictures(Dataset[Example]):
    """The pictures of a folder, in the order of their names, without classes."""

    def __init__(self, folder: Path, transform: Any) -> None:
        self.paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMG_EXTENSIONS)
        self._transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Example:
        return (self._transform(picture_at(str(self.paths[i]))),)


class Source(Dataset[Example]):
    """The examples that a folder of attributions is about: ``source[i]`` is explained by ``attributions[i]``.

    Each is compared with the digest that was kept of it.

    Attributes:
        classes: The names of the classes, by number; None where they have none.
    """

    def __init__(self, attributions: Attributions, data: Dataset[Example]) -> None:
        self._ids, self._digests = attributions.ids, attributions.digests
        self._data, self._named = data, attributions.command.get("data")
        self.classes = class_names(data, str(self._named))

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, i: int) -> Example:
        position = int(self._ids[i])
        try:
            example = self._data[position]
        except IndexError:
            example = ()
        if not example or int(example_digests((example[0].unsqueeze(0),))[0]) != int(self._digests[i]):
            raise FileError(
                f"{self._named}: example {position} is not the one that was explained. The data have changed since."
            )
        return example


def source(attributions: Attributions) -> Source:
    """Return the data of a folder that ``captum-xg attribute`` has made, opened again.

    Example ``i`` is ``(input, label)``, or ``(input,)`` where there are no labels, as the model got it: with mean and
    deviation taken off. :attr:`Attributions.command` holds these, under ``mean`` and ``std``.

    Raises:
        FileError: If the data are not where they were; asked for an example, if it is another one now.
        OptionError: If Python code has made the folder, and not the command line.
    """
    command = attributions.command
    if "data" not in command:
        raise OptionError(
            f"{attributions.folder}: explain_dataset has made it, and not captum-xg attribute, so that nothing says "
            "where the data are. Pass them."
        )
    return Source(attributions, opened(command))


def opened(command: Mapping[str, Any]) -> Dataset[Example]:
    """Return the data that a command line names.

    Args:
        command: ``data``, and what there is of ``examples`` (at most), ``size``, ``mean``, ``std``, ``dtype`` of the
            inputs, ``tokens`` (integers stay integers).

    Raises:
        FileError: If there is nothing of that name, or it has another form.
        OptionError: If the options do not fit it.
    """
    name, most = str(command["data"]), command.get("examples") or sys.maxsize
    size, mean, std = (command.get(key) for key in ("size", "mean", "std"))
    dtype: torch.dtype = getattr(torch, str(command.get("dtype") or "float32"))
    suffix = Path(name).suffix
    if (command.get("tokens") or suffix in (".npy", ".pt")) and not size is mean is std is None:
        raise OptionError(f"--size, --mean and --std are for images; {name} holds inputs as the model gets them.")
    if command.get("tokens"):
        return _tokens(name, most)
    if suffix in (".npy", ".pt"):
        return TensorDataset(read_examples(name, dtype)[:most])
    if os.path.isdir(name) and not _folders_in(Path(name)):
        pictures = Pictures(Path(name), picture_transform(size, mean, std, dtype))
        if not len(pictures):
            raise FileError(f"--data {name}: there are no pictures in it ({', '.join(IMG_EXTENSIONS)}).")
        return Subset(pictures, range(min(most, len(pictures))))
    return labelled_examples(name, most, size=size, mean=mean, std=std, dtype=dtype)


def class_names(data: Any, name: str) -> tuple[str, ...] | None:
    """Return the names of the classes of data, by number; None where they have none."""
    if name == "demo" or name.startswith("fashion-mnist:"):
        return CLASSES
    while data is not None and not hasattr(data, "classes"):
        data = getattr(data, "dataset", None)  # of a part of a data set
    return None if data is None else tuple(map(str, data.classes))


def holds_tokens(name: str) -> bool:
    """Return whether a file holds ids of tokens, integers in rows, and not numbers or pictures."""
    if not name.endswith(".npz") or not os.path.isfile(name):
        return False
    arrays = read_arrays(name)
    found = next((arrays[key] for key in ("tokens", "inputs") if key in arrays), None)
    return found is not None and found.ndim == 2 and found.dtype.kind in "iu"


def holds_tokens_alone(name: str) -> bool:
    """Return whether a file holds ids of tokens and nothing else that a model could be called with."""
    return holds_tokens(name) and not {"inputs", "images"} & set(read_arrays(name))


def readable(data: Any, positions: Sequence[int]) -> Iterator[Tensor]:
    """Yield the inputs of those examples that can be read; what is wrong with the others is said of them in a run.

    Raises:
        FileError: If none can.
    """
    found, why = False, ""
    for position in positions:
        try:
            x = data[position][0]
        except Exception as error:  # whatever a damaged file leads its decoder to
            why = in_one_line(error)
        else:
            found = True
            yield x
    if not found:
        raise FileError(f"none of the {len(positions)} examples that were tried can be read: {why}")


def _folders_in(folder: Path) -> bool:
    return any(entry.is_dir() for entry in os.scandir(folder) if not entry.name.startswith("."))


def _tokens(name: str, most: int) -> Dataset[Example]:
    arrays = read_arrays(name) if name.endswith(".npz") else {}
    key = next((key for key in ("tokens", "inputs") if key in arrays), None)
    if key is None or arrays[key].ndim != 2 or arrays[key].dtype.kind not in "iu":
        raise FileError(
            f"--data {name}: with a layer that looks tokens up, it must be FILE.npz with the array tokens (or inputs), "
            "integers (N, length), and labels if there are any."
        )
    columns = [torch.from_numpy(arrays[key].astype(np.int64))[:most]]
    if "labels" in arrays:
        columns.append(torch.from_numpy(arrays["labels"].astype(np.int64))[:most])
    return TensorDataset(*columns)
