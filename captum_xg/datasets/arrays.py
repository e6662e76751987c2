"""Numbers in users' files: labelled images in ``.npz``, inputs in ``.npy`` and ``.pt``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_xg._core.reading import read_array, read_arrays, read_tensors, unreadable
from captum_xg.errors import FileError


def read_labelled(path: str | Path, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return the images and labels of an ``.npz`` file.

    8-bit images ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` are scaled to [0, 1] and get the shape
    ``(N, C, H, W)``; other numbers, of any shape ``(N, …)``, are taken as they are.

    Args:
        path: A file with arrays ``images`` (or ``inputs``) and ``labels``.
        dtype: Of the images that are returned.

    Returns:
        Images ``(N, …)`` and labels ``(N,)``, int64.

    Raises:
        FileError: If the file cannot be read, lacks one of the two, or they are not finite numbers and one class each.
    """
    path = Path(path)
    arrays = read_arrays(path)
    name = next((name for name in ("images", "inputs") if name in arrays), None)
    if name is None or "labels" not in arrays:
        raise FileError(f"{path} has {', '.join(arrays) or 'nothing'}, but must have images and labels.")
    images, labels = arrays[name], arrays["labels"]
    if images.ndim == 0 or len(images) == 0:
        raise FileError(f"{path}: {name} has the shape {images.shape}, but must have (N, …) with N of at least 1.")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(images):
        raise FileError(
            f"{path}: labels must be one integer per example, but they are {labels.dtype} of shape {labels.shape} for "
            f"{len(images)} examples."
        )
    if int(labels.min()) < 0 or int(labels.max()) > np.iinfo(np.int64).max:
        raise FileError(
            f"{path}: labels must be the numbers of classes, from 0 on, but they go from {labels.min()} to "
            f"{labels.max()}."
        )
    return _images(images, name, path, dtype), torch.from_numpy(labels.astype(np.int64))


def read_examples(path: str | Path, dtype: torch.dtype) -> Tensor:
    """Return inputs ``(N, …)`` from an ``.npy`` file, or from a file of ``torch.save`` that holds one tensor.

    Args:
        path: The file.
        dtype: Of the tensor that is returned: that of the model. What is in the file must be floating-point.

    Raises:
        FileError: If it cannot be read, or holds something else, or numbers that are not finite in this dtype.
    """
    path = Path(path)
    if path.suffix == ".npy":
        array = read_array(path)
        if array.dtype.kind != "f":
            raise _no_examples(path, f"numbers of type {array.dtype}")
        value: object = _tensor(array)
    else:
        value = read_tensors(path)
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
        raise _no_examples(path, f"{value.dtype}" if isinstance(value, Tensor) else type(value).__name__)
    if value.is_meta or value.layout != torch.strided:
        raise _no_examples(path, "a tensor without numbers" if value.is_meta else f"a tensor of {value.layout}")
    if value.dim() == 0 or len(value) == 0:
        raise _no_examples(path, f"an array of shape {tuple(value.shape)}")
    return _finite(value.detach().to("cpu", dtype), str(path))


def _images(images: NDArray[Any], name: str, path: Path, dtype: torch.dtype) -> Tensor:
    if images.dtype == np.uint8:
        if images.ndim == 3:
            images = images[:, None]
        elif images.ndim == 4 and images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
            images = np.moveaxis(images, -1, 1)
        return torch.from_numpy(images.copy()).to(dtype) / 255
    if images.dtype.kind not in "fiu":
        raise FileError(f"{path}: {name} must be numbers but are {images.dtype}.")
    return _finite(_tensor(images).to(dtype), f"{path}, {name}")


def _tensor(array: NDArray[Any]) -> Tensor:
    """Return an array of any byte order and width as a tensor, float64 where PyTorch has no such numbers."""
    known = array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else np.dtype(np.float64)
    if known.kind == "u" and known.itemsize > 1:
        known = np.dtype(np.float64)
    return torch.from_numpy(array.astype(known))


def _finite(values: Tensor, where: str) -> Tensor:
    bad = (~torch.isfinite(values)).reshape(len(values), -1).any(1)
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise FileError(
            f"{where}: example {first} holds NaN, infinity or numbers beyond {values.dtype}, {int(bad.sum())} of "
            f"{len(values)} examples in all. Leave them out, or fill the gaps."
        )
    return values


def _no_examples(path: Path, found: str) -> FileError:
    return unreadable(
        path,
        f"it holds {found}, but must hold one floating-point array of shape (N, …) with N of at least 1",
        "Images of integers: scale them as the model was trained, such as images / 255.",
    )
