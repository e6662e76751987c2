"""What is trained on what, how long, and what is measured: the presets, and the images.

The held-out images are for the choice of weights that are shipped, the test images for the numbers that are reported.
What must never happen: that an image is in two of the three parts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from captum_xg._core.contents import bytes_of
from captum_xg.datasets.arrays import read_labelled
from captum_xg.datasets.evaluation import SHIPPED
from captum_xg.datasets.fashion_mnist import load_fashion_mnist
from captum_xg.errors import OptionError

EPOCHS, IMAGES = 20, 50_000
"""From so many on a training counts as one to convergence."""


@dataclass(frozen=True)
class Protocol:
    """Everything that the numbers depend on, besides seeds and device.

    Attributes:
        epochs: Of the two networks that are compared.
        ablation_epochs: Of the variants, and of ``xvit_small`` as it is beside them.
        batch_size: Of training.
        train_images: How many.
        validation_images: Held out; the seed that is shipped is chosen on them.
        test_images: Those that accuracies are reported on.
        measured_images: Those that attributions are measured on, the first of the test images.
        reference_steps: Of Integrated Gradients that stands for the integral, on the twin.
        most_steps: The largest number of steps that is tried.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Of AdamW.
        dropout: In training.
        precision: Of training; ``"bfloat16"`` is autocast.
    """

    epochs: int = 20
    ablation_epochs: int = 6
    batch_size: int = 512
    train_images: int = 55_000
    validation_images: int = 5_000
    test_images: int = 10_000
    measured_images: int = 100
    reference_steps: int = 2048
    most_steps: int = 1024
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    dropout: float = 0.1
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def too_short(self) -> str:
        """Why accuracies and what depends on them are not those of a trained network; empty if they are."""
        if self.epochs >= EPOCHS and self.train_images >= IMAGES:
            return ""
        return (
            f"{self.train_images:,} images {self.epochs} times are far from convergence; "
            f"this asks for at least {IMAGES:,} images {EPOCHS} times"
        )

    @property
    def recipe(self) -> str:
        """How networks are trained, for the record of shipped weights."""
        return (
            f"AdamW, weight decay {self.weight_decay:g}, one-cycle learning rate, batches of {self.batch_size}, "
            f"dropout {self.dropout:g}, {self.precision}, no augmentation"
        )


PRESETS = {
    "quick": Protocol(
        epochs=2,
        ablation_epochs=1,
        batch_size=32,
        train_images=256,
        validation_images=50,
        test_images=150,
        measured_images=2,
        reference_steps=96,
        most_steps=32,
    ),
    "full": Protocol(),
}
SEEDS = {"quick": 2, "full": 3}


class Labelled(NamedTuple):
    """Images ``(N, 1, 28, 28)`` in [0, 1], and their classes."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Data:
    """The three parts of the images, on the device of the experiment.

    Attributes:
        train: To train on.
        validation: Held out.
        test: To report.
        about: What they are, for the middle of a sentence.
    """

    train: Labelled
    validation: Labelled
    test: Labelled
    about: str

    def fingerprint(self) -> str:
        """Return what tells these images from others, the same on every device."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            digest.update(bytes_of(part.labels.cpu()))
            digest.update(bytes_of(part.images[:16].cpu()))
        return digest.hexdigest()[:16]


def load(source: str, protocol: Protocol, device: torch.device) -> Data:
    """Return the images that ``--data`` names.

    Raises:
        OptionError: If it names none, or there are not as many as are asked for.
        FileError: If they are not there.
    """
    kind, _, root = source.partition(":")
    if source == "shipped":
        whole, about = Labelled(*read_labelled(SHIPPED, torch.float32)), "of the shipped ones of Fashion-MNIST"
        rest, test = whole, None
    elif kind == "fashion-mnist" and root:
        rest, about = Labelled(*load_fashion_mnist(root, train=True)), "of Fashion-MNIST"
        test = Labelled(*load_fashion_mnist(root, train=False))
    else:
        raise OptionError(f"--data {source}: give shipped or fashion-mnist:ROOT.")
    n, held_out, tested = protocol.train_images, protocol.validation_images, protocol.test_images
    needed = n + held_out + (tested if test is None else 0)
    if needed > len(rest.labels) or (test is not None and tested > len(test.labels)):
        raise OptionError(
            f"--data {source}: {n:,} images to train on, {held_out:,} held out and {tested:,} to test are more than "
            "there are. Give fewer, or --data fashion-mnist:ROOT."
        )
    order = torch.randperm(len(rest.labels), generator=torch.Generator().manual_seed(0))
    parts = [_part(rest, order[held_out : held_out + n]), _part(rest, order[:held_out])]
    parts.append(_part(rest, order[held_out + n : needed]) if test is None else Labelled(*(t[:tested] for t in test)))
    train, validation, tests = (Labelled(*(tensor.to(device) for tensor in part)) for part in parts)
    return Data(train, validation, tests, about)


def _part(whole: Labelled, rows: Tensor) -> Labelled:
    return Labelled(*(tensor[rows] for tensor in whole))
