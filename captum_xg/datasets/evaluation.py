"""Labelled examples to evaluate attributions on, from what a command line can name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from captum_xg.datasets.fashion_mnist import load_fashion_mnist
from captum_xg.errors import OptionError

SHIPPED = Path(__file__).resolve().parent.parent / "assets" / "fashion_mnist_test.npz"
FORMS = "demo, fashion-mnist:ROOT, a file FILE.npz with the arrays images and labels, or a folder with one per class"


def labelled_examples(
    source: str,
    n: int,
    *,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Dataset[Any]:
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

    Raises:
        OptionError: If there is no such source, or it has another form.
    """
    if (mean is None) != (std is None):
        raise OptionError("--mean and --std go together: give both or none.")
    if not source.endswith(".npz") and Path(source).is_dir():
        return _folder(Path(source), n, size, mean, std)
    if size is not None:
        raise OptionError(f"--size is for folders of images; {source} has a size of its own.")
    if source == "demo":
        images, labels = _file(SHIPPED)
    elif source.startswith("fashion-mnist:"):
        images, labels = load_fashion_mnist(source.partition(":")[2], train=False)
    elif source.endswith(".npz"):
        images, labels = _file(Path(source))
    else:
        raise OptionError(f"--data {source}: there is no such folder. Give {FORMS}.")
    images, labels = images[:n], labels[:n]
    if mean is not None and std is not None:
        images = _normalised(images, mean, std)
    return TensorDataset(images, labels)


def _file(path: Path) -> tuple[Tensor, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as file:
            name = next((name for name in ("images", "inputs") if name in file), None)
            if name is None or "labels" not in file:
                raise OptionError(f"{path} has {', '.join(file) or 'nothing'}, but must have images and labels.")
            images, labels = file[name], file["labels"]
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} cannot be read as an .npz file: {error}") from error
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(images) or not len(images):
        raise OptionError(
            f"{path}: labels must be one integer per example, but they are {labels.dtype} of shape {labels.shape} for "
            f"{len(images)} examples."
        )
    if images.dtype == np.uint8:
        if images.ndim == 3:
            images = images[:, None]
        elif images.ndim == 4 and images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
            images = np.moveaxis(images, -1, 1)
        return torch.from_numpy(images.copy()).to(torch.float32) / 255, torch.from_numpy(labels.astype(np.int64))
    if images.dtype.kind not in "fiu":
        raise OptionError(f"{path}: {name} must be numbers but are {images.dtype}.")
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))


def _folder(
    path: Path, n: int, size: int | None, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Dataset[Any]:
    steps: list[Any] = [] if size is None else [transforms.Resize(size), transforms.CenterCrop(size)]
    steps.append(transforms.ToTensor())
    if mean is not None and std is not None:
        steps.append(transforms.Normalize(list(mean), list(std)))
    try:
        dataset = ImageFolder(str(path), transform=transforms.Compose(steps))
    except FileNotFoundError as error:
        raise OptionError(f"--data {path}: it must have one subfolder of images for each class. {error}") from error
    if n >= len(dataset):
        return dataset  # type: ignore[no-any-return]
    chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:n]
    return Subset(dataset, sorted(chosen.tolist()))


def _normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    channels = images.shape[1] if images.dim() > 1 else 0
    if not len(mean) == len(std) == channels or not all(std):
        raise OptionError(f"--mean and --std must give {channels} numbers each, one for each channel, and no std of 0.")
    shape = (1, -1, *[1] * (images.dim() - 2))
    return (images - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(shape)
