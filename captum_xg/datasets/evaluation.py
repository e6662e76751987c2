"""Labelled examples to evaluate attributions on, by the name that they have on a command line."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import default_loader

from captum_xg._core.reading import unreadable
from captum_xg._core.text import in_one_line
from captum_xg.assets import ASSETS
from captum_xg.datasets.arrays import read_labelled
from captum_xg.datasets.fashion_mnist import load_fashion_mnist
from captum_xg.errors import FileError, OptionError

if TYPE_CHECKING:
    from PIL.Image import Image

Examples: TypeAlias = Dataset[tuple[Tensor, ...]]

SHIPPED = ASSETS / "fashion_mnist_test.npz"
FORMS = "demo, fashion-mnist:ROOT, a file FILE.npz with the arrays images and labels, or a folder with one per class"


def labelled_examples(
    source: str,
    n: int,
    *,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Examples:
    """Return at most ``n`` pairs of an input and its class, in an order that is the same each time.

    Args:
        source: ``"demo"``, the 500 Fashion-MNIST test images that come with the package; ``"fashion-mnist:ROOT"``, the
            test set under ROOT; the path of an ``.npz`` file with arrays ``images`` (or ``inputs``) and ``labels``,
            where 8-bit images ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` are scaled to [0, 1] and others are
            taken as they are; or a folder with a subfolder of images per class, numbered in alphabetical order.
        n: The first n, of a folder n drawn at random with a fixed seed.
        size: Of a folder: shorter sides are scaled to it and the central square is taken.
        mean: Subtracted from each channel, before the division by ``std``.
        std: What each channel is divided by.
        dtype: Of the inputs: that of the model.

    Raises:
        FileError: If there is no such source, or it has another form.
        OptionError: If the options do not fit it, or each other.
    """
    _require_normalisation(mean, std, None)
    if not source.endswith(".npz") and os.path.isdir(source):
        return _folder(Path(source), n, size, mean, std, dtype)
    if size is not None:
        raise OptionError(f"--size is for folders of images; {source} has a size of its own.")
    if source == "demo":
        images, labels = read_labelled(SHIPPED, dtype)
    elif source.startswith("fashion-mnist:"):
        root = source.partition(":")[2]
        if not root:
            raise OptionError(f"--data {source}: it does not say where. Give {FORMS}.")
        images, labels = load_fashion_mnist(root, train=False)
        images = images.to(dtype)
    elif source.endswith(".npz"):
        images, labels = read_labelled(source, dtype)
    else:
        raise FileError(f"--data {source}: there is no such folder. Give {FORMS}.")
    images, labels = images[:n], labels[:n]
    if mean is not None and std is not None:
        images = _normalised(images, mean, std)
    return TensorDataset(images, labels)


def _folder(
    path: Path,
    n: int,
    size: int | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    dtype: torch.dtype,
) -> Examples:
    transform = picture_transform(size, mean, std, dtype)
    try:
        dataset = ImageFolder(str(path), transform=transform, loader=picture_at)
    except FileNotFoundError as error:
        raise FileError(f"--data {path}: it must have one subfolder of images for each class. {error}") from error
    return some_of(dataset, n)


def picture_transform(
    size: int | None, mean: Sequence[float] | None, std: Sequence[float] | None, dtype: torch.dtype
) -> transforms.Compose:
    """Return what pictures of a folder go through: scaled, the central square taken, to [0, 1], mean and deviation.

    Raises:
        OptionError: If the numbers are not one for each of the three channels.
    """
    _require_normalisation(mean, std, 3)  # as they are read, grey ones too
    steps: list[Callable[..., object]] = [] if size is None else [transforms.Resize(size), transforms.CenterCrop(size)]
    steps += [transforms.ToTensor(), transforms.ConvertImageDtype(dtype)]
    if mean is not None and std is not None:
        steps.append(transforms.Normalize(list(mean), list(std)))
    return transforms.Compose(steps)


def some_of(dataset: ImageFolder, n: int | None) -> Examples:
    """Return n examples drawn at random with a fixed seed, in the order of the data set; all if there are no more."""
    if n is None or n >= len(dataset):
        return dataset  # type: ignore[no-any-return]
    chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:n]
    return Subset(dataset, sorted(chosen.tolist()))


def picture_at(path: str) -> Image:
    """Return the picture in a file, as data sets of folders load it.

    Raises:
        FileError: If it cannot be read.
    """
    try:
        picture: Image = default_loader(path)
    except Exception as error:  # damaged pictures raise whatever their decoder raises
        raise unreadable(Path(path), in_one_line(error)) from error
    return picture


def _normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    channels = images.shape[1] if images.dim() > 1 else 0
    _require_normalisation(mean, std, channels)
    shape = (1, -1, *[1] * (images.dim() - 2))
    shift, scale = (torch.tensor(numbers, dtype=images.dtype).reshape(shape) for numbers in (mean, std))
    return (images - shift) / scale


def _require_normalisation(mean: Sequence[float] | None, std: Sequence[float] | None, channels: int | None) -> None:
    """Refuse means and deviations that do not fit each other, or pictures of so many channels.

    Raises:
        OptionError: If they do not.
    """
    if mean is None and std is None:
        return
    if mean is None or std is None:
        raise OptionError("--mean and --std go together: give both or none.")
    if not all(map(math.isfinite, (*mean, *std))):
        raise OptionError("--mean and --std must be finite numbers.")
    if channels is not None and (not len(mean) == len(std) == channels or not all(std)):
        raise OptionError(f"--mean and --std must give {channels} numbers each, one for each channel, and no std of 0.")
