"""The files that come with the package: two trained networks and real test images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_xg.demo.network import fashion_cnn

ASSETS = Path(__file__).resolve().parent.parent / "assets"
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
    """
    model = fashion_cnn(bias=bias)
    file = Path(folder) / WEIGHT_FILES["with biases" if bias else "without biases"]
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
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
        ValueError: If ``n`` is not between 1 and the number of images shipped.
    """
    with np.load(Path(folder) / IMAGES_FILE, allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    n = len(images) if n is None else n
    if not 1 <= n <= len(images):
        raise ValueError(
            f"demo_images: n must lie between 1 and {len(images)}, the images that are shipped, but is {n}."
        )
    return torch.from_numpy(images[:n]).unsqueeze(1).to(torch.float32) / 255, torch.from_numpy(labels[:n]).long()


def training_record(folder: str | Path = ASSETS) -> dict[str, Any]:
    """Return how the shipped networks were trained and their accuracy on all 10,000 test images."""
    record: dict[str, Any] = json.loads((Path(folder) / TRAINING_FILE).read_text())
    return record
