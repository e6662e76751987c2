"""Training of a network on totals of molecules: the same recipe for a network without biases and for its twin."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captum_xg.models.graph import GIN, Graphs, gin, xgin

NETWORKS = {"gin": gin, "xgin": xgin}
"""The twin with biases, and the network without; the former first, as everywhere."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: Through all training molecules.
        batch: Molecules in a step.
        width: Of the network's states.
        rate: The largest learning rate, which rises over a tenth of the steps and then falls to zero as a cosine does.
        decay: Weight decay, AdamW's.
    """

    epochs: int
    batch: int
    width: int
    rate: float = 2e-3
    decay: float = 0.01


def trained(
    name: str, graphs: Graphs, targets: Tensor, recipe: Recipe, seed: int, device: torch.device
) -> tuple[GIN, float]:
    """Return a network in evaluation mode, and what its outputs are to be multiplied by.

    The targets are divided by their root mean square in training. A multiple of an output, and nothing else, is what a
    network of degree 1 can be given without losing that; so they are not shifted here either.

    Args:
        name: Of the network, in :data:`NETWORKS`.
        graphs: Molecules of the training part.
        targets: ``(n,)``.
        recipe: How.
        seed: Of the weights and of the order of the molecules.
        device: Where.
    """
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU, the same ones wherever they are trained
        torch.manual_seed(seed)
        model = NETWORKS[name](width=recipe.width).to(device)
    size = float(targets.square().mean().sqrt()) or 1.0
    graphs, wanted = graphs.to(device), (targets / size).to(device, torch.float32)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    steps = recipe.epochs * math.ceil(len(wanted) / recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    model.train()
    for _ in range(recipe.epochs):
        for some in torch.split(torch.randperm(len(wanted), generator=generator).to(device), recipe.batch):
            loss = nn.functional.mse_loss(model(*_part(graphs, some))[:, 0], wanted[some])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval(), size


@torch.no_grad()
def predicted(model: GIN, graphs: Graphs, size: float, device: torch.device) -> Tensor:
    """Return outputs ``(n,)`` in the unit of the targets, on the CPU."""
    outputs = [model(*part)[:, 0] for part in batches(graphs.to(device), 256)]
    return torch.cat(outputs).double().cpu() * size


def batches(graphs: Graphs, size: int) -> Iterator[Graphs]:
    """Yield all graphs in their order, so many at a time."""
    for some in torch.split(torch.arange(len(graphs.nodes), device=graphs.nodes.device), size):
        yield _part(graphs, some)


def _part(graphs: Graphs, which: Tensor) -> Graphs:
    # Looking for the largest of them waits for an accelerator, where what it saves is nothing.
    return graphs.take(which) if which.device.type == "cpu" else Graphs(*(each[which] for each in graphs))


def _rate(share: float) -> float:
    return share / 0.1 if share < 0.1 else 0.5 * (1 + math.cos(math.pi * (share - 0.1) / 0.9))
