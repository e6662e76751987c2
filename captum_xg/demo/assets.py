"""Files that come with the package: two trained networks and real test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from captum_xg._core.reading import is_share, read_json, require_fields, unreadable
from captum_xg.assets import ASSETS
from captum_xg.datasets.arrays import read_labelled
from captum_xg.datasets.fashion_mnist import CLASSES
from captum_xg.demo.network import fashion_cnn
from captum_xg.errors import FileError, OptionError
from captum_xg.models import load_checkpoint

WEIGHT_FILES = {"without biases": "fashion_cnn_without_biases.pt", "with biases": "fashion_cnn_with_biases.pt"}
IMAGES_FILE = "fashion_mnist_test.npz"
LICENCE_FILE = "fashion_mnist_licence.txt"
TRAINING_FILE = "training.json"


def demo_model(*, bias: bool = False, folder: str | Path = ASSETS) -> nn.Sequential:
    """Return the demo's network, trained on Fashion-MNIST and in evaluation mode.

    Args:
        bias: False for the X-DNN, True for its twin with biases.
        folder: Where the weight files lie.

    Returns:
        A network from ``(N, 1, 28, 28)`` in [0, 1] to logits ``(N, 10)``.

    Raises:
        CheckpointError: If the weight file is missing or damaged, or has other weights.
    """
    model = fashion_cnn(bias=bias)
    load_checkpoint(model, Path(folder) / WEIGHT_FILES["with biases" if bias else "without biases"])
    return model.eval()


def demo_images(n: int | None = None, *, folder: str | Path = ASSETS) -> tuple[Tensor, Tensor]:
    """Return the first ``n`` images of Fashion-MNIST's test set and their labels (all 500 that are shipped if None).

    Args:
        n: How many, at most 500.
        folder: Where the image file lies.

    Returns:
        Images ``(n, 1, 28, 28)``, float32 in [0, 1], and labels ``(n,)``, int64. Names of the labels are
        :data:`captum_xg.datasets.fashion_mnist.CLASSES`.

    Raises:
        OptionError: If ``n`` is not between 1 and the number of images shipped.
        FileError: If the image file is missing or damaged, or has other images.
    """
    path = Path(folder) / IMAGES_FILE
    images, labels = read_labelled(path)
    if images.shape[1:] != (1, 28, 28) or int(labels.max()) >= len(CLASSES):
        raise FileError(
            f"{path} holds images {tuple(images.shape)} with labels up to {int(labels.max())}, but must hold 28×28 "
            f"grey images with labels below {len(CLASSES)}."
        )
    n = len(images) if n is None else n
    if not 1 <= n <= len(images):
        raise OptionError(
            f"demo_images: `n` must be between 1 and {len(images)}, the images that are shipped, but is {n}."
        )
    return images[:n], labels[:n]


def training_record(folder: str | Path = ASSETS) -> dict[str, Any]:
    """Return how the shipped networks were trained and their accuracy on all 10,000 test images.

    Raises:
        FileError: If the file is missing or damaged, or has no accuracies.
    """
    path = Path(folder) / TRAINING_FILE
    record = read_json(path)
    try:
        require_fields(record.get("test_accuracy"), dict.fromkeys(WEIGHT_FILES, is_share))
    except ValueError as error:
        raise unreadable(path, f"its test_accuracy holds no accuracies ({error})") from error
    return record
