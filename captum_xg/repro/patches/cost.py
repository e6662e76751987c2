"""What X-Gradient and a prior cost on the transformer: seconds, each way in turn, ratios within a round.

What must never happen: that the proof, which is made once, counts as part of a call; or that the two ways that are
compared run different networks. Weights are random, as times do not depend on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from captum_xg import XGradient
from captum_xg.priors import AttributionPriorLoss, TotalVariation
from captum_xg.repro.patches.networks import X, fresh
from captum_xg.repro.patches.protocol import Labelled

Step = Callable[[], object]
_WARM_UP = 3


def attribution(data: Labelled, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a forward and backward pass to the image, and of X-Gradient, in each round."""
    model = fresh(X, 0.0, 0).to(data.images.device).eval()
    method = XGradient(model)

    def plain() -> None:
        images = data.images.detach().requires_grad_()
        scores = model(images).gather(1, data.labels[:, None])
        torch.autograd.grad(scores.sum(), images)

    return _rounds(
        {"plain": plain, "X-Gradient": lambda: method.attribute(data.images, target=data.labels)}, data, rounds
    )


def training(data: Labelled, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a training step without and with a prior on X-Gradient, in each round; without dropout."""
    steps: dict[str, Step] = {}
    for name in ("plain", "prior"):
        model = fresh(X, 0.0, 0).to(data.images.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
        loss = AttributionPriorLoss(model, TotalVariation(), weight=1e-3, attribution="xgradient")

        def step(
            model: torch.nn.Module = model,
            optimizer: torch.optim.Optimizer = optimizer,
            loss: AttributionPriorLoss | None = loss if name == "prior" else None,
        ) -> None:
            optimizer.zero_grad()
            total = F.cross_entropy(model(data.images), data.labels) if loss is None else loss(*data).total
            torch.autograd.backward(total)
            optimizer.step()

        steps[name] = step
    return _rounds(steps, data, rounds)


def _rounds(steps: dict[str, Step], data: Labelled, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(_WARM_UP + rounds):
        for name, step in steps.items():
            _wait_for(data.images.device)
            began = time.perf_counter()
            step()
            _wait_for(data.images.device)
            if i >= _WARM_UP:
                found[name].append(time.perf_counter() - began)
    return found


def _wait_for(device: torch.device) -> None:
    """Wait until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
