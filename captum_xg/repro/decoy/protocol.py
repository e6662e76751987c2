"""Methods, settings and images of the decoy experiment."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from captum_xg.datasets.arrays import read_labelled
from captum_xg.datasets.decoy import add_decoys
from captum_xg.datasets.evaluation import SHIPPED
from captum_xg.errors import OptionError
from captum_xg.repro import experiment

WEIGHTS = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
"""λ, for every attribution: their scales differ, so the grid must be wide."""

SELECTION_SEED = 1000
"""The first of the seeds that λ is chosen with; those that are reported begin at 0."""


@dataclass(frozen=True)
class Method(experiment.Method):
    """One way to train; ``clean`` ones train and test on images without decoys: what there is to recover."""

    clean: bool = False

    @property
    def options(self) -> dict[str, int]:
        """Options of :class:`~captum_xg.AttributionPriorLoss`."""
        return {"n_samples": self.n_references} if self.n_references else {}


CLEAN = Method("clean", "clean images", "", bias=True, clean=True)
CLEAN_XDNN = Method("clean-xdnn", "clean images, X-DNN", "", bias=False, clean=True)
NO_PRIOR = Method("none", "no prior", "", bias=True)
NO_PRIOR_XDNN = Method("none-xdnn", "no prior, X-DNN", "", bias=False)
RRR = Method("rrr", "RRR", "rrr", bias=True)
EG_1 = Method("eg1", "Expected Gradients (1)", "expected_gradients", bias=True, n_references=1)
EG_8 = Method("eg8", "Expected Gradients (8)", "expected_gradients", bias=True, n_references=8)
INPUT_X_GRADIENT = Method("ixg", "input × gradient", "input_x_gradient", bias=True)
X_GRADIENT = Method("xg", "X-Gradient, X-DNN", "xgradient", bias=False)

METHODS = (CLEAN, CLEAN_XDNN, NO_PRIOR, NO_PRIOR_XDNN, RRR, EG_1, EG_8, INPUT_X_GRADIENT, X_GRADIENT)
"""In the order of the tables."""


def without_prior(method: Method) -> Method:
    """Return plain training of the same network on the same images."""
    return NO_PRIOR if method.bias else NO_PRIOR_XDNN


def on_clean_images(method: Method) -> Method:
    """Return plain training of the same network on images without decoys."""
    return CLEAN if method.bias else CLEAN_XDNN


@dataclass(frozen=True)
class Settings:
    """What results depend on besides method, λ and seed.

    Attributes:
        train_images: How many of the 60,000 training images to train on.
        validation_images: How many others of them to choose λ on.
        epochs: Passes over the training images.
        batch_size: Images per step; a last batch that is not full is left out.
        learning_rate: Of Adam.
        hidden: Widths of the hidden layers; (50, 30) in the source.
    """

    train_images: int
    validation_images: int
    epochs: int
    batch_size: int
    learning_rate: float = 3e-3
    hidden: tuple[int, ...] = (50, 30)

    @property
    def steps(self) -> int:
        """Of one training."""
        return self.epochs * (self.train_images // self.batch_size)


PRESETS = {
    "quick": Settings(train_images=10_000, validation_images=5_000, epochs=10, batch_size=128),
    "full": Settings(train_images=50_000, validation_images=10_000, epochs=8, batch_size=256),
}

SHIPPED_WEIGHTS = (1.0, 1e2, 1e4)
SHIPPED_PRESETS = {
    "quick": Settings(train_images=300, validation_images=100, epochs=30, batch_size=50),
    "full": Settings(train_images=300, validation_images=100, epochs=200, batch_size=50),
}
"""For the 500 shipped images: few, so more epochs. They are of the test set of Fashion-MNIST."""


class Labelled(NamedTuple):
    """Images ``(N, 1, 28, 28)`` with labels ``(N,)`` and the place of their decoys ``(N, 1, 28, 28)``."""

    images: Tensor
    labels: Tensor
    patch: Tensor


class Split(NamedTuple):
    """The images without decoys."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    def fingerprint(self) -> int:
        """Return a number that differs for other images or another split."""
        value = 0
        for images, labels in self:
            for tensor in ((images * 255).round().to(torch.uint8), labels):
                value = zlib.crc32(tensor.cpu().numpy().tobytes(), value)
        return value


def split(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], settings: Settings) -> Split:
    """Divide the training images into those to train on and those to choose λ on, the same ones for all seeds.

    Raises:
        OptionError: If there are too few images.
    """
    images, labels = train
    wanted = settings.train_images + settings.validation_images
    if wanted > len(images):
        raise OptionError(
            f"{settings.train_images} images to train on and {settings.validation_images} to validate on are more than "
            f"the {len(images)} training images. Ask for fewer."
        )
    if settings.batch_size > settings.train_images:
        raise OptionError(f"--batch-size {settings.batch_size} is more than {settings.train_images} training images.")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).to(images.device)
    first, second = order[: settings.train_images], order[settings.train_images : wanted]
    return Split((images[first], labels[first]), (images[second], labels[second]), test)


def shipped_split(settings: Settings, device: torch.device) -> Split:
    """Divide the 500 shipped images: what neither trains nor validates is for testing.

    Raises:
        OptionError: If that leaves none.
    """
    images, labels = (part.to(device) for part in read_labelled(SHIPPED, torch.float32))
    used = settings.train_images + settings.validation_images
    if used >= len(images):
        raise OptionError(f"{used} of the {len(images)} shipped images to train and to validate on leave none to test.")
    everything = split(
        (images, labels), (images, labels), replace(settings, validation_images=len(images) - settings.train_images)
    )
    rest = everything.validation
    n = settings.validation_images
    return Split(everything.train, (rest[0][:n], rest[1][:n]), (rest[0][n:], rest[1][n:]))


class Decoys(NamedTuple):
    """The images of one seed, with decoys.

    Attributes:
        train: The decoy is a function of the label.
        validation: The decoy is random: what λ is chosen on.
        confounded: The validation images with decoys as in training: what cannot choose λ.
        test: The decoy is random.
    """

    train: Labelled
    validation: Labelled
    confounded: Labelled
    test: Labelled


def decoys(images: Split, seed: int) -> Decoys:
    """Paint decoys into the images; corners and random shades depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)

    def painted(part: tuple[Tensor, Tensor], informative: bool) -> Labelled:
        found = add_decoys(*part, informative=informative, generator=generator)
        return Labelled(found.images, part[1], found.patch)

    return Decoys(
        painted(images.train, True),
        painted(images.validation, False),
        painted(images.validation, True),
        painted(images.test, False),
    )
