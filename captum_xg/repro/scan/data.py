"""Images for the scan: Fashion-MNIST, some of them with a patch in a corner that gives the label away."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import torch
from torch import Tensor

from captum_xg.datasets.arrays import read_labelled
from captum_xg.datasets.decoy import PATCH, add_decoys
from captum_xg.datasets.evaluation import SHIPPED
from captum_xg.datasets.fashion_mnist import load_fashion_mnist
from captum_xg.errors import OptionError

SHIPPED_TRAIN = 400
"""So many of the 500 shipped images train, the others test."""
_ORDER, _PATCHES = 0, 2
"""What generators are seeded with, so that none repeats the numbers of another."""


class Images(NamedTuple):
    """Images ``(N, 1, 28, 28)`` in [0, 1] without patches, and labels ``(N,)``, to train on and to test on."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


class Patched(NamedTuple):
    """Images of which some carry the patch.

    Attributes:
        images: ``(N, 1, 28, 28)``.
        labels: ``(N,)``.
        carries: Which of them do, bool, ``(N,)``.
    """

    images: Tensor
    labels: Tensor
    carries: Tensor


def images_of(data: str, n: int, shipped: str) -> Images:
    """Return n images to train on, and others to test on.

    Args:
        data: ``shipped`` or where Fashion-MNIST lies.
        n: How many.
        shipped: What ``data`` is for the images of the package.

    Raises:
        OptionError: If there are not as many.
        FileError: If the data cannot be read.
    """
    if data == shipped:
        images, labels = read_labelled(SHIPPED, torch.float32)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_ORDER))
        rest = order[SHIPPED_TRAIN:]
        order, test = order[:SHIPPED_TRAIN], (images[rest], labels[rest])
    else:
        root = data.removeprefix("fashion-mnist:")
        (images, labels), test = (load_fashion_mnist(root, train=part) for part in (True, False))
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_ORDER))
    if n > len(order):
        raise OptionError(f"--images {n}: there are {len(order):,} to train on. Ask for fewer.")
    return Images((images[order[:n]], labels[order[:n]]), test)


def with_patches(images: Tensor, labels: Tensor, share: float, seed: int, *, informative: bool = True) -> Patched:
    """Return images of which each carries the patch with a probability, in one of the four corners.

    Args:
        images: Without it, not changed.
        labels: Which its grey value gives away, if it is ``informative``.
        share: The probability.
        seed: Where patches are depends on it alone.
        informative: Whether its grey value is a function of the label; otherwise it is random.
    """
    generator = torch.Generator().manual_seed(1000 * seed + _PATCHES)
    found = add_decoys(images, labels, informative=informative, generator=generator)
    carries = torch.rand(len(labels), generator=generator) < share
    return Patched(torch.where(carries[:, None, None, None], found.images, images), labels, carries)


def corners(height: int, width: int) -> list[tuple[int, int]]:
    """Return the first places of the four patches that there may be: row and column."""
    return [(row, column) for row in (0, height - PATCH) for column in (0, width - PATCH)]


def fingerprint(images: Images) -> int:
    """Return a number that differs for other images."""
    value = 0
    for part, labels in images:
        for tensor in ((part * 255).round().to(torch.uint8), labels):
            value = zlib.crc32(tensor.numpy().tobytes(), value)
    return value
