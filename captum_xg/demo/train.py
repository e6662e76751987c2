"""Training of the two networks of the demo, from the raw data to the files under ``assets``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from captum_xg._core.files import make_folder, require_writable, whole_file, write_json, write_tensors
from captum_xg.assets import ASSETS
from captum_xg.datasets.fashion_mnist import load_fashion_mnist
from captum_xg.demo.assets import IMAGES_FILE, TRAINING_FILE, WEIGHT_FILES
from captum_xg.demo.network import fashion_cnn

SHIPPED_IMAGES = 500
"""The first ones of the test set in its own order, so not a selection."""


def retrain(
    data_root: str | Path, destination: str | Path = ASSETS, *, epochs: int = 8, batch_size: int = 128, seed: int = 0
) -> dict[str, float]:
    """Train the X-DNN and its twin with biases on Fashion-MNIST and write the demo's files.

    Adam with a one-cycle learning rate (peak 3e-3), shifts by up to two pixels and mirroring; the last epoch is kept.
    Both networks see the same batches in the same order.

    Args:
        data_root: Where Fashion-MNIST lies or goes; see :func:`captum_xg.datasets.fashion_mnist.load_fashion_mnist`.
        destination: The folder that the weights, the images and ``training.json`` are written to.
        epochs: Passes over the 60,000 training images.
        batch_size: Images per step.
        seed: Of the initial weights, the order of the images and their augmentation.

    Returns:
        Accuracy on all 10,000 test images for each network, in [0, 1].

    Raises:
        FileError: If the data are missing and cannot be downloaded, or the files cannot be written; the latter is found
            out before training.
    """
    destination = make_folder(destination)
    for file in (*WEIGHT_FILES.values(), IMAGES_FILE, TRAINING_FILE):
        require_writable(destination / file)
    train = load_fashion_mnist(data_root, train=True)
    test = load_fashion_mnist(data_root, train=False)
    accuracies = {}
    for name, file in WEIGHT_FILES.items():
        torch.manual_seed(seed)
        model = fashion_cnn(bias=name == "with biases")
        # Without biases nothing but the scale of the weights keeps the signal alive; He's initialisation keeps it at 1.
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        fit(model, *train, epochs=epochs, batch_size=batch_size, seed=seed, title=f"training the network {name}")
        accuracies[name] = accuracy(model, *test)
        write_tensors(destination / file, model.state_dict())
    images, labels = test
    with whole_file(destination / IMAGES_FILE) as unfinished, unfinished.open("wb") as sink:
        np.savez_compressed(
            sink,
            images=(images[:SHIPPED_IMAGES, 0] * 255).round().to(torch.uint8).numpy(),
            labels=labels[:SHIPPED_IMAGES].to(torch.uint8).numpy(),
        )
    settings = {
        "test_accuracy": accuracies,
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "torch": torch.__version__.split("+")[0],
        "torchvision": torchvision.__version__.split("+")[0],
    }
    write_json(destination / TRAINING_FILE, settings, indent=2)
    return accuracies


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images whose largest logit is at their label, in [0, 1]."""
    hits = 0
    for batch, target in zip(torch.split(images, 500), torch.split(labels, 500), strict=True):
        hits += int((model(batch).argmax(1) == target).sum())
    return hits / len(labels)


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    title: str,
    augment: bool = True,
) -> None:
    """Train a network in place, from the weights it has, and leave it in evaluation mode.

    Adam with a one-cycle learning rate (peak 3e-3); the last epoch is kept. The seed is that of the order of the images
    and of their augmentation, shifts by up to two pixels and mirroring.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = -(-len(images) // batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=epochs * steps)
    model.train()
    with tqdm(total=epochs * steps, desc=title, unit="step") as progress:
        for _ in range(epochs):
            for index in torch.split(torch.randperm(len(images), generator=generator), batch_size):
                batch = _augment(images[index], generator) if augment else images[index]
                loss = F.cross_entropy(model(batch), labels[index])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                progress.update()
    model.eval()


def _augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to two pixels each way and mirror half of them; what comes in at the edge is 0."""
    n, _, height, width = batch.shape
    padded = F.pad(batch, (2, 2, 2, 2))
    top, left = torch.randint(0, 5, (2, n), generator=generator)
    rows = (top[:, None] + torch.arange(height))[:, :, None]
    columns = (left[:, None] + torch.arange(width))[:, None, :]
    mirror = torch.rand(n, generator=generator) < 0.5
    columns = torch.where(mirror[:, None, None], columns.flip(-1), columns)
    return padded[torch.arange(n)[:, None, None], 0, rows, columns].unsqueeze(1)
