"""Trainings of one network: on classes or ratings, the best epoch kept, or on decoys with a prior."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg._core.seeding import seeded
from captum_xg.datasets.vocabulary import PADDING, UNKNOWN
from captum_xg.models.text import TextClassifier
from captum_xg.repro.texts.data import Part
from captum_xg.repro.texts.networks import Score
from captum_xg.repro.texts.settings import Settings

OUTPUTS = {"classes": 2, "rating": 1}
"""What is learnt → numbers in the output."""

Loss = Callable[[Part], Tensor]


def task_loss(outputs: Tensor, part: Part) -> Tensor:
    """Return cross entropy of two outputs with the classes, the mean squared error of one with the ratings."""
    if outputs.shape[1] == 2:
        return F.cross_entropy(outputs, part.labels)
    return F.mse_loss(outputs[:, 0], part.ratings)


def fit(model: TextClassifier, train: Part, validation: Part, settings: Settings, seed: int) -> int:
    """Train a network, leave it at its best epoch on the validation texts, and return that epoch, from 1.

    Args:
        model: In place, and in evaluation mode afterwards.
        train: Texts that have what is learnt.
        validation: Likewise.
        settings: Numbers.
        seed: Of the order of the texts and of dropout.
    """
    best, kept, at = float("-inf"), copy.deepcopy(model.state_dict()), 0

    def keep_the_best(epoch: int) -> None:
        nonlocal best, kept, at
        reached = scores(model, validation)["validated"]
        if reached > best:
            best, kept, at = reached, copy.deepcopy(model.state_dict()), epoch

    run(model, lambda part: task_loss(model(part.ids), part), train, settings, settings.epochs, seed, keep_the_best)
    model.load_state_dict(kept)
    model.eval()
    return at


def run(
    model: nn.Module,
    loss: Loss,
    train: Part,
    settings: Settings,
    epochs: int,
    seed: int,
    after_epoch: Callable[[int], None] = lambda epoch: None,
    *,
    no_dropped_from: int | None = None,
) -> None:
    """Train by the loss of each batch: Adam, a learning rate that falls to zero along a cosine, words dropped.

    Ids from ``no_dropped_from`` on are never dropped.
    """
    device = train.ids.device
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    steps = epochs * max(1, len(train.ids) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with seeded(seed, device):
        for epoch in range(1, epochs + 1):
            model.train()
            for part in _batches(train, settings, seed * 1000 + epoch, no_dropped_from):
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(loss(part))
                optimizer.step()
                schedule.step()
            model.eval()
            after_epoch(epoch)


@torch.no_grad()
def scores(model: TextClassifier, part: Part) -> dict[str, float]:
    """Return how good a network is on texts: accuracy of the classes; or error and correlation of the ratings.

    ``validated`` is what epochs and λ are chosen by, the larger the better.
    """
    outputs = torch.cat([model(trimmed(ids)) for ids in torch.split(part.ids, 1024)])
    if outputs.shape[1] == 2:
        accuracy = float((outputs.argmax(1) == part.labels).double().mean())
        # Few texts to choose by tie often in accuracy; of equals the one that is surer of what is right.
        loss = float(F.cross_entropy(outputs, part.labels))
        return {"accuracy": accuracy, "validated": accuracy - 1e-3 * loss}
    error = float(F.mse_loss(outputs[:, 0], part.ratings).sqrt())
    both = torch.stack([outputs[:, 0], part.ratings]).double()
    return {"rmse": error, "correlation": float(torch.corrcoef(both)[0, 1]), "validated": -error}


def scored(model: TextClassifier) -> Score:
    """Return the network as one number per text, in evaluation mode."""
    return Score(model).eval()


def trimmed(ids: Tensor) -> Tensor:
    """Return ids without columns that are padding in every text, but for some: lengths are multiples of 16.

    X-Gradient is proven shape by shape, so that few shapes cost little.
    """
    longest = int((ids != PADDING).sum(1).max())
    return ids[:, : max(16, -(-longest // 16) * 16)]


def _batches(train: Part, settings: Settings, seed: int, no_dropped_from: int | None) -> Iterator[Part]:
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train.ids), generator=generator)
    # Drawn on the CPU, so that an accelerator sees the same.
    dropped = torch.rand(train.ids.shape, generator=generator) < settings.word_dropout
    droppable = train.ids != PADDING
    if no_dropped_from is not None:
        droppable &= train.ids < no_dropped_from
    shown = torch.where(dropped.to(train.ids.device) & droppable, UNKNOWN, train.ids)
    for index in torch.split(order.to(train.ids.device), settings.batch_size):
        if len(index) < min(settings.batch_size, len(order)):
            return  # what is left over is of another shape; another epoch draws it
        yield Part(trimmed(shown[index]), train.ratings[index], train.labels[index])
