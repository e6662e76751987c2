"""Fashion-MNIST as two tensors, from whatever form of it lies on the disk."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

from captum_xg._options import file_path, switch

CLASSES = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


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
        OptionTypeError: If an argument is of the wrong type.

    Source: Xiao, Rasul and Vollgraf 2017, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms*.
    """
    where = "load_fashion_mnist"
    root, train = file_path(root, "root", where), switch(train, "train", where)
    _unpack_distribution(root)
    dataset = FashionMNIST(str(root), train=train, download=True)
    images = dataset.data.unsqueeze(1).to(torch.float32) / 255
    return images, dataset.targets.to(torch.int64)


def _unpack_distribution(root: Path) -> None:
    """Unpack ``root/*-ubyte.gz`` where torchvision looks for them, so that nothing is downloaded."""
    raw = root / "FashionMNIST" / "raw"
    for archive in root.glob("*-ubyte.gz"):
        target = raw / archive.stem
        if not target.exists():
            raw.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_suffix(".part")
            with gzip.open(archive, "rb") as source, unfinished.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            unfinished.replace(target)  # so that an interrupted one is not taken for the data
