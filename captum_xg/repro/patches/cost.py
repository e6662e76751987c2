"""What X-Gradient and a prior cost on the transformer: seconds, each way in turn, ratios within a round.

What must never happen: that the proof, which is made once, counts as part of a call; or that the two ways that are
compared run different networks. Weights are random, as times do not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from captum_xg import XGradient
from captum_xg.priors import AttributionPriorLoss, TotalVariation
from captum_xg.repro.patches.networks import X, fresh
from captum_xg.repro.patches.protocol import Labelled
from captum_xg.repro.rounds import seconds_in_turn

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

    steps: dict[str, Step] = {
        "plain": plain,
        "X-Gradient": lambda: method.attribute(data.images, target=data.labels),
    }
    return seconds_in_turn(steps, data.images.device, warm_up=_WARM_UP, rounds=rounds)


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
    return seconds_in_turn(steps, data.images.device, warm_up=_WARM_UP, rounds=rounds)
