"""ImageNet's validation images in torchvision's layout, and other folders with one folder of images for each class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from torchvision import transforms
from torchvision.datasets import ImageFolder

from captum_xg._core.options import file_path
from captum_xg._core.text import in_one_line
from captum_xg.datasets.evaluation import Examples, picture_at, some_of
from captum_xg.errors import FileError

if TYPE_CHECKING:
    pass

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = 1000
_LAYOUT = "torchvision's layout is ROOT/val/n01440764/ILSVRC2012_val_00000293.JPEG and so on, 1,000 folders under val"


def paper_preprocessing() -> transforms.Compose:
    """Return what the paper does with images: shorter side 256, central 224×224, ImageNet's mean and deviation.

    The zero baseline of an attribution is thus an image of ImageNet's mean colour. Source: the code released with Hesse
    et al. 2021, which takes it from PyTorch's ImageNet example.
    """
    return transforms.Compose(
        [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )


def small_preprocessing() -> transforms.Compose:
    """Return what images of any size go through to become those of the small networks: ``(1, 28, 28)`` in [0, 1]."""
    return transforms.Compose(
        [transforms.Grayscale(), transforms.Resize(28), transforms.CenterCrop(28), transforms.ToTensor()]
    )


def imagenet_validation(root: str | Path, n: int | None = None) -> Examples:
    """Return validation images of ImageNet, prepared as the paper does, with their classes.

    Classes are numbered by the alphabetical order of all 1,000 folders, as torchvision and the released networks have
    it. So all of them must be there, empty ones too: a folder of some classes would number them anew, and every
    accuracy would be wrong without an error.

    Args:
        root: The folder that has ``val``.
        n: How many; drawn at random with a fixed seed. All by default.

    Returns:
        Pairs of an image ``(3, 224, 224)``, float32, and a class.

    Raises:
        FileError: If the folder has another layout, or not all classes.
    """
    root = file_path(root, "root", "imagenet_validation")
    folder = root / "val"
    if not os.path.isdir(folder):
        raise FileError(f"imagenet:{root}: there is no folder {folder}. {_LAYOUT}.")
    found = sum(entry.is_dir() for entry in os.scandir(folder))
    if found != CLASSES:
        raise FileError(
            f"imagenet:{root}: {folder} has {found} folders and not {CLASSES}. Classes are "
            "numbered by the order of all of them, so that with some missing the numbers would be those of other "
            f"classes. Make the missing ones, empty. {_LAYOUT}."
        )
    return _chosen(_images(folder, paper_preprocessing(), f"imagenet:{root}"), n)


def images_in_folders(folder: str | Path, preprocessing: transforms.Compose, n: int | None = None) -> Examples:
    """Return the images of a folder that has one folder for each class, numbered in alphabetical order.

    Args:
        folder: The folder.
        preprocessing: From a picture to a tensor.
        n: How many; drawn at random with a fixed seed. All by default.

    Raises:
        FileError: If there is no such folder, or there are no images in it.
    """
    folder = file_path(folder, "folder", "images_in_folders")
    if not os.path.isdir(folder):
        raise FileError(f"folder:{folder}: there is no such folder.")
    return _chosen(_images(folder, preprocessing, f"folder:{folder}"), n)


def _images(folder: Path, preprocessing: transforms.Compose, where: str) -> ImageFolder:
    try:
        return ImageFolder(str(folder), transform=preprocessing, loader=picture_at, allow_empty=True)
    except FileNotFoundError as error:
        raise FileError(f"{where}: there must be one folder of images for each class. {in_one_line(error)}") from error


def _chosen(dataset: ImageFolder, n: int | None) -> Examples:
    if len(dataset) == 0:
        raise FileError(f"{dataset.root}: there are no images in its folders.")
    return some_of(dataset, n)
