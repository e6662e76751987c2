"""What the paper's image experiments are about: pairs of a network and its X-DNN, and labelled images.

The setting is one of four options, the same for all of these experiments. ``--models small`` are networks of 70 to 100
thousand parameters for 28×28 grey images, ``--models paper`` AlexNet, VGG16 and Fixup-ResNet-50 for ImageNet.
``--weights`` are the shipped ones (small), the released ones (paper), or files in a folder, ``--data`` the shipped 500
images of Fashion-MNIST, its whole test set, ImageNet's validation images, or a folder with one folder for each class.

What must never happen: numbers of a network on images that its classes are not about. Combinations that cannot be right
are refused, and everything that a number depends on is in :meth:`Subjects.settings`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from captum_xg import models
from captum_xg._core.contents import bytes_of
from captum_xg._core.options import usable_device
from captum_xg.benchmark.settings import of_model
from captum_xg.datasets.arrays import read_labelled
from captum_xg.datasets.evaluation import SHIPPED, Examples
from captum_xg.datasets.fashion_mnist import load_fashion_mnist
from captum_xg.datasets.imagenet import imagenet_validation, images_in_folders, paper_preprocessing, small_preprocessing
from captum_xg.errors import FileError, OptionError
from captum_xg.repro.processes import of_this_process

_NAMES = {
    "small": {"AlexNet": "small_alexnet", "VGG": "small_vgg", "ResNet": "small_fixup_resnet"},
    "paper": {"AlexNet": "alexnet", "VGG": "vgg16", "ResNet": "fixup_resnet50"},
}
_ENDINGS = (".pt", ".pth", "_model_best.pth.tar", ".pth.tar")
Builder = Callable[..., nn.Module]


@dataclass(frozen=True)
class Pair:
    """A network and its X-DNN, in evaluation mode on the device of the experiment.

    Attributes:
        family: ``"AlexNet"``, ``"VGG"`` or ``"ResNet"``.
        name: Of the regular network, as in :mod:`captum_xg.models`.
        regular: With biases.
        xdnn: Without.
    """

    family: str
    name: str
    regular: nn.Module
    xdnn: nn.Module

    @property
    def both(self) -> dict[str, nn.Module]:
        """The networks by name, the regular one first."""
        return {self.name: self.regular, f"x{self.name}": self.xdnn}


@dataclass(frozen=True)
class Subjects:
    """Networks and images that were asked for on the command line.

    Attributes:
        models: ``"small"`` or ``"paper"``.
        weights: ``"shipped"``, ``"released"`` or a folder.
        data: As on the command line.
        device: Where networks run.
        n_images: How many images at most.
    """

    models: str
    weights: str
    data: str
    device: torch.device
    n_images: int

    @property
    def are_the_papers(self) -> bool:
        """Whether these are the paper's networks, with the released weights, on ImageNet."""
        return self.models == "paper" and self.weights == "released" and self.data.startswith("imagenet:")

    @property
    def not_the_papers(self) -> str:
        """Why printed numbers are not comparable; empty if they are."""
        if self.are_the_papers:
            return ""
        return f"the paper's are on ImageNet with the released networks, these {self.described}"

    @property
    def described(self) -> str:
        """What numbers are about, for the middle of a sentence."""
        where = {"shipped": "the shipped test images of Fashion-MNIST"}.get(self.data, f"images of {self.data}")
        kind, _, rest = self.data.partition(":")
        if rest:  # without the reader's own folders
            named = {"fashion-mnist": "the test images of Fashion-MNIST", "imagenet": "ImageNet's validation images"}
            where = named.get(kind, "images of a folder")
        networks = "the small networks" if self.models == "small" else "AlexNet, VGG16 and Fixup-ResNet-50"
        weights = self.weights if self.weights in ("shipped", "released") else "given"
        return f"on {len(self.labels)} of {where} with {networks} and the {weights} weights"

    def pair(self, family: str) -> Pair:
        """Return a network and its X-DNN.

        Raises:
            FileError, CheckpointError: If their weights are not there, or do not fit.
        """
        name = _NAMES[self.models][family]
        regular, xdnn = (self._network(each) for each in (name, f"x{name}"))
        return Pair(family, name, regular, xdnn)

    @cached_property
    def examples(self) -> Examples:
        """Pairs of an image and its class.

        Raises:
            FileError, OptionError: If there are none, or they are not for these networks.
        """
        kind, _, where = self.data.partition(":")
        if self.data == "shipped":
            images, labels = read_labelled(SHIPPED, torch.float32)
            return TensorDataset(images[: self.n_images], labels[: self.n_images])
        if not where:
            raise OptionError(f"--data {self.data}: give shipped, fashion-mnist:ROOT, imagenet:ROOT or folder:DIR.")
        if kind == "fashion-mnist":
            if not os.path.isdir(where):  # torchvision would make it, and download what belongs there
                raise FileError(f"--data {self.data}: there is no such folder.")
            images, labels = load_fashion_mnist(where, train=False)
            return TensorDataset(images[: self.n_images], labels[: self.n_images])
        if kind == "imagenet":
            return imagenet_validation(where, self.n_images)
        if kind == "folder":
            preprocessing = paper_preprocessing() if self.models == "paper" else small_preprocessing()
            return images_in_folders(where, preprocessing, self.n_images)
        raise OptionError(f"--data {self.data}: give shipped, fashion-mnist:ROOT, imagenet:ROOT or folder:DIR.")

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """The classes of all images."""
        if isinstance(self.examples, TensorDataset):
            return tuple(self.examples.tensors[1].tolist())
        return tuple(label for _, label in self._files)  # without reading a picture

    @property
    def _files(self) -> list[tuple[str, int]]:
        """Path and class of each image that is in a file."""
        dataset: Any = self.examples
        return [dataset.dataset.samples[i] for i in dataset.indices] if hasattr(dataset, "indices") else dataset.samples

    def batches(self, size: int) -> DataLoader[tuple[Tensor, ...]]:
        """Return the images in batches, in an order that is the same each time."""
        return DataLoader(self.examples, batch_size=size)

    def batch(self, index: int, size: int) -> tuple[Tensor, Tensor]:
        """Return one batch of images and classes, on the device."""
        return self.rows(range(index * size, min((index + 1) * size, len(self.labels))))

    def rows(self, indices: Iterable[int]) -> tuple[Tensor, Tensor]:
        """Return some images and their classes, on the device."""
        images, labels = zip(*(self.examples[i] for i in indices), strict=True)
        return torch.stack(images).to(self.device), torch.as_tensor(labels).to(self.device)

    def others(self, n: int) -> Tensor:
        """Return up to n images of the data that are not among these, on the device; of length 0 if there are none."""
        wide = replace(self, n_images=self.n_images + n)
        own = set(getattr(self.examples, "indices", range(len(self.labels))))
        rows = [i for i, j in enumerate(getattr(wide.examples, "indices", range(len(wide.labels)))) if j not in own]
        return wide.rows(rows)[0] if rows else self.rows([0])[0][:0]

    def settings(self) -> dict[str, object]:
        """Return what results depend on besides the networks: where images come from, and a digest of them."""
        digest = hashlib.sha256(repr(self.labels).encode())
        if isinstance(self.examples, TensorDataset):
            digest.update(bytes_of(self.examples.tensors[0]))
        else:
            # Reading all pictures would take longer than some experiments: a few, and name and size of the others.
            digest.update(bytes_of(self.batch(0, min(16, len(self.labels)))[0].cpu()))
            digest.update(repr([(Path(path).name, os.path.getsize(path)) for path, _ in self._files]).encode())
        # Names of folders are not among them: a folder may move, and its images are what counts.
        return {
            "models": self.models,
            "images": len(self.labels),
            "data": digest.hexdigest()[:16],
            "device": self.device.type,
        }

    def _network(self, name: str) -> nn.Module:
        builder: Builder = getattr(models, name)
        if self.weights == "shipped":
            model = builder(pretrained=True)
        else:
            model = builder()
            models.load_checkpoint(model, name if self.weights == "released" else self._file(name))
        return model.eval().to(self.device)

    def _file(self, name: str) -> Path:
        folder = Path(self.weights)
        paths = [folder / f"{name}{ending}" for ending in _ENDINGS]
        for path in paths:
            if os.path.isfile(path):
                return path
        listed = ", ".join(path.name for path in paths)
        raise FileError(f"--weights {folder}: it has none of {listed}.")


def model_digest(model: nn.Module) -> str:
    """Return what tells the weights of a network from others, the same on every device."""
    return of_model(model)[:16]


def subjects(options: argparse.Namespace, n_images: int) -> Subjects:
    """Return what the options of :func:`add_subject_arguments` ask for.

    Raises:
        OptionError: If options do not fit each other.
        FileError: If there are no such images.
    """
    n = n_images if options.images is None else options.images
    if n < 1:
        raise OptionError(f"--images {n}: there must be at least 1.")
    _require_fit(options.models, options.weights, options.data)
    device = usable_device(of_this_process(options.device), "--device", only=("cpu", "cuda"))
    found = Subjects(options.models, options.weights, options.data, device, n)
    classes = 10 if options.models == "small" else 1000
    if max(found.labels) >= classes:
        raise OptionError(f"--data {options.data}: it has {max(found.labels) + 1} classes, the networks {classes}.")
    return found


def _require_fit(networks: str, weights: str, data: str) -> None:
    if networks == "paper" and weights == "shipped":
        raise OptionError(
            "--models paper: no weights of these come with the package. Give --weights released, which downloads the "
            "authors' (from 60 to 550 MB each), or a folder that has them."
        )
    if networks == "small" and weights == "released":
        raise OptionError("--weights released: these are of --models paper. Small models have --weights shipped.")
    if networks == "paper" and not data.startswith(("imagenet:", "folder:")):
        raise OptionError(f"--models paper: these networks are for ImageNet. Give --data imagenet:ROOT, not {data}.")
    if networks == "small" and data.startswith("imagenet:"):
        raise OptionError(
            f"--data {data}: the small models know the ten classes of Fashion-MNIST. Give --models paper."
        )
