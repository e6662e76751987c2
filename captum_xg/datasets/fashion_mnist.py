"""Fashion-MNIST as two tensors, from any form of it on the disk."""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

from captum_xg._core.files import make_folder, whole_file
from captum_xg._core.options import file_path, switch
from captum_xg._core.reading import require_file, unreadable
from captum_xg._core.text import in_one_line
from captum_xg.errors import FileError

_WANTED = (
    "Give a folder with the four files *-ubyte.gz of Fashion-MNIST, or a data root of torchvision with them unpacked "
    "in FashionMNIST/raw."
)

CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def load_fashion_mnist(root: str | Path, *, train: bool) -> tuple[Tensor, Tensor]:
    """Return Fashion-MNIST as images in [0, 1] and integer labels.

    The background of every image is exactly 0, so the zero baseline is "no garment". The images are therefore scaled
    to [0, 1] and not centred: subtracting a mean would move the background away from the baseline.

    Args:
        root: A torchvision data root (``<root>/FashionMNIST/raw/*-ubyte``), or a folder with the four ``.gz`` files of
            the original distribution, which are then unpacked under ``root`` into torchvision's layout. Missing files
            are downloaded by torchvision.
        train: The 60,000 training images, else the 10,000 test images.

    Returns:
        Images of shape ``(N, 1, 28, 28)``, float32 in [0, 1], and labels of shape ``(N,)``, int64.

    Raises:
        FileError: If it is not there and cannot be downloaded, or a file is damaged.
        OptionTypeError: If an argument is of the wrong type.

    Source: Xiao, Rasul and Vollgraf 2017, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms*.
    """
    where = "load_fashion_mnist"
    root, train = file_path(root, "root", where), switch(train, "train", where)
    raw = root / "FashionMNIST" / "raw"
    if os.path.isdir(root):  # that of Path raises an error for names that are too long
        _unpack_distribution(root)
    elif os.path.exists(root):
        raise unreadable(root, "it is not a folder", _WANTED)
    try:
        dataset = FashionMNIST(str(root), train=train, download=True)
        images, labels = dataset.data, dataset.targets
    except Exception as error:  # no network, no room, or a damaged file; torchvision has an error of its own for each
        there = os.path.isdir(raw) and any(raw.glob("*-ubyte"))
        reason = f"what is in {raw} is damaged or incomplete" if there else "it is not there and cannot be downloaded"
        raise FileError(f"Fashion-MNIST under {root}: {reason} ({in_one_line(error)}). {_WANTED}") from error
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or not bool((labels < len(CLASSES)).all()):
        raise FileError(
            f"Fashion-MNIST under {root}: {raw} holds images {tuple(images.shape)} and labels {tuple(labels.shape)} "
            f"that are not those of Fashion-MNIST. {_WANTED}"
        )
    return images.unsqueeze(1).to(torch.float32) / 255, labels.to(torch.int64)


def first_of_each_class(labels: Tensor) -> list[int]:
    """Return the index of the first example of each class, in the order they come."""
    first: dict[int, int] = {}
    for index, label in enumerate(labels.tolist()):
        first.setdefault(label, index)
    return list(first.values())


def _unpack_distribution(root: Path) -> None:
    """Unpack ``root/*-ubyte.gz`` where torchvision looks for them, so that nothing is downloaded."""
    raw = root / "FashionMNIST" / "raw"
    for archive in sorted(root.glob("*-ubyte.gz")):
        target = raw / archive.stem
        if target.exists():
            continue
        make_folder(raw)
        with whole_file(target) as unfinished:
            try:
                with gzip.open(require_file(archive), "rb") as source, unfinished.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
            except (gzip.BadGzipFile, zlib.error, EOFError) as error:
                raise unreadable(archive, f"it is damaged ({in_one_line(error)})", "Fetch it again.") from error
