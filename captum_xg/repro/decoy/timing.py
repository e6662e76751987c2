"""Seconds of one training step with each method, measured in turn so that a slow moment hits all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from captum_xg.repro.decoy.protocol import Labelled, Method, Settings
from captum_xg.repro.decoy.training import network, objective
from captum_xg.repro.rounds import seconds_in_turn

WARM_UP, ROUNDS = 5, 50
"""Steps of each method that do not count, and that do."""


def seconds_per_step(
    methods: Sequence[Method],
    weights: Mapping[Method, float],
    data: Labelled,
    settings: Settings,
    progress: Callable[[int], object],
) -> dict[Method, float]:
    """Return the shortest duration of a whole step: objective, backward pass and Adam.

    The shortest of many, as whatever else the machine does only adds to it, and to long steps more often than to short
    ones, which would spoil a ratio of medians. The first steps do not count: among other things X-Gradient makes its
    certificate then, once. ``progress`` is called with numbers of rounds done.
    """
    batch = Labelled(*(part[: settings.batch_size] for part in data))
    steps = {method: _step(method, weights[method], batch, settings) for method in methods}
    found = seconds_in_turn(steps, batch.images.device, warm_up=WARM_UP, rounds=ROUNDS, progress=progress)
    return {method: min(seconds) for method, seconds in found.items()}


def _step(method: Method, weight: float, batch: Labelled, settings: Settings) -> Callable[[], None]:
    device = batch.images.device
    model = network(settings, bias=method.bias, seed=0).to(device)
    loss = objective(model, method, weight, 0, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss(*batch))
        optimizer.step()

    return step
