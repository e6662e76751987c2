"""One training, the same for every network: the batches of a seed, AdamW, a one-cycle learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg.repro.patches.networks import attentions
from captum_xg.repro.patches.protocol import Labelled, Protocol

_BATCH = 1000
"""Images at a time where nothing is trained."""


def train(model: nn.Module, data: Labelled, protocol: Protocol, *, epochs: int, seed: int) -> list[float]:
    """Train a network in place, leave it in evaluation mode, and return the mean loss of each epoch.

    The seed is that of the order of images, which is the same for every network, and of dropout.
    """
    generator = torch.Generator().manual_seed(seed)
    device, n = data.images.device, len(data.labels)
    steps = -(-n // protocol.batch_size)
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=protocol.learning_rate, weight_decay=protocol.weight_decay, fused=on_gpu
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=protocol.learning_rate, total_steps=epochs * steps)
    model.train()
    losses = []
    with _random_numbers(device, seed), _fused(model, on=on_gpu):
        for _ in range(epochs):
            total = torch.zeros((), device=device)
            for index in torch.split(torch.randperm(n, generator=generator).to(device), protocol.batch_size):
                with torch.autocast(device.type, torch.bfloat16, enabled=protocol.precision == "bfloat16"):
                    loss = F.cross_entropy(model(data.images[index]), data.labels[index])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                total += loss.detach()  # looked at once an epoch: each look waits for the GPU
            losses.append(float(total) / steps)
    model.eval()
    return losses


@torch.no_grad()
def correct(model: nn.Module, data: Labelled) -> Tensor:
    """Return for each image whether the largest logit is at its label, on the CPU."""
    pairs = zip(torch.split(data.images, _BATCH), torch.split(data.labels, _BATCH), strict=True)
    return torch.cat([(model(images).argmax(1) == labels).cpu() for images, labels in pairs])


def is_finite(losses: list[float]) -> bool:
    """Whether all losses of a training were numbers; that of one step would make the mean of its epoch none."""
    return all(map(math.isfinite, losses))


@contextmanager
def _random_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """Draw what dropout draws from a seed, and leave the global state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _fused(model: nn.Module, *, on: bool) -> Iterator[None]:
    """Let attention run in PyTorch's fused kernel, as that of the twin does; a bias in the logits keeps the plain one.

    The formula is the same; only derivatives of its gradient are missing, which plain training does not ask for.
    """
    layers = [layer for layer in attentions(model) if layer.positions != "relative"] if on else []
    for layer in layers:
        layer.fused = True
    try:
        yield
    finally:
        for layer in layers:
            layer.fused = False
