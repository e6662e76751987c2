"""One training on decoys: network, objective, steps and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg.errors import NonFinitePriorError
from captum_xg.priors.loss import AttributionPriorLoss
from captum_xg.priors.region import EnergyInRegion
from captum_xg.priors.right_reasons import RightForRightReasons
from captum_xg.repro.decoy.protocol import Decoys, Labelled, Method, Settings, Split

IG_STEPS = 32
EXPLAINED_IMAGES = 200
"""Of the test set, for the share of the attributions that is in the patch."""

Step = Callable[[Tensor, Tensor, Tensor], Tensor]


def network(settings: Settings, *, bias: bool, seed: int) -> nn.Sequential:
    """Return a fresh network from images ``(N, 1, 28, 28)`` to logits ``(N, 10)``, an X-DNN if it has no biases.

    Linear layers with ReLU and He's initialisation, without which a deep network without biases would have no signal.
    """
    sizes = [28 * 28, *settings.hidden, 10]
    layers: list[nn.Module] = [nn.Flatten()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            linear = nn.Linear(inputs, outputs, bias=bias)
            layers.append(linear)
            if i < len(settings.hidden):
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
                layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def objective(model: nn.Module, method: Method, weight: float, seed: int, device: torch.device) -> Step:
    """Return the function of images, labels and patches to minimise.

    Cross entropy, and λ times the mean over images of Σ a² over the patch, where a are the attributions to the logit of
    the true class (RRR: the gradient of the summed log-probabilities).
    """
    if not method.has_prior:
        return lambda images, labels, patch: F.cross_entropy(model(images), labels)
    options: dict[str, Any] = dict(method.options)
    if method.attribution == "expected_gradients":
        options["generator"] = torch.Generator(device).manual_seed(seed)
    loss = AttributionPriorLoss(model, RightForRightReasons(), weight=weight, attribution=method.attribution, **options)
    return lambda images, labels, patch: loss(images, labels, mask=patch).total


def batches(data: Labelled, settings: Settings, seed: int) -> Iterator[Labelled]:
    """Yield the batches of all epochs; their order depends on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings.epochs):
        order = torch.randperm(len(data.labels), generator=generator).to(data.images.device)
        for index in torch.split(order, settings.batch_size):
            if len(index) == settings.batch_size:
                yield Labelled(*(part[index] for part in data))


def train(
    method: Method, weight: float, seed: int, data: Labelled, settings: Settings, progress: Callable[[int], object]
) -> nn.Sequential | None:
    """Return the trained network, or None if training diverged.

    The seed is that of the initial weights, the order of the images, and the references of Expected Gradients;
    ``progress`` is called with numbers of steps done.
    """
    device = data.images.device
    model = network(settings, bias=method.bias, seed=seed).to(device)
    step = objective(model, method, weight, seed, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    done = 0
    try:
        for batch in batches(data, settings, seed):
            optimizer.zero_grad()
            torch.autograd.backward(step(*batch))
            optimizer.step()
            done += 1
            progress(1)
    except NonFinitePriorError:
        progress(settings.steps - done)
        return None
    whole = all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
    return model.eval() if whole else None


def evaluate(model: nn.Module, method: Method, clean: Split, data: Decoys) -> dict[str, float]:
    """Return the scores of a network, all in [0, 1].

    Accuracies: ``validation`` (random decoys), ``confounded`` (validation images with decoys as in training), ``test``
    (random decoys, or none for methods on clean images), ``test_decoy`` and ``test_clean`` (of every method); and
    :func:`patch_share`.
    """
    on_decoys, on_clean = accuracy(model, *data.test[:2]), accuracy(model, *clean.test)
    return {
        "validation": accuracy(model, *data.validation[:2]),
        "confounded": accuracy(model, *data.confounded[:2]),
        "test": on_clean if method.clean else on_decoys,
        "test_decoy": on_decoys,
        "test_clean": on_clean,
        "patch_share": patch_share(model, data.test),
    }


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images whose largest logit is at their label, in [0, 1]."""
    return float((model(images).argmax(1) == labels).sum()) / len(labels)


def explain(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return Integrated Gradients of the logits of the labels against black, in the shape of the images.

    Gauss–Legendre with 32 steps, by Captum: the same yardstick for all networks, whatever they were trained with.
    """
    found: Tensor = IntegratedGradients(model).attribute(
        images, target=labels, n_steps=IG_STEPS, internal_batch_size=16_000
    )
    return found.detach()


def patch_share(model: nn.Module, data: Labelled) -> float:
    """Return the share of the absolute attributions that is in the patch, mean of the first 200 images, in [0, 1].

    The patch is 16 of 784 pixels, 2 %.
    """
    images, labels, patch = (part[:EXPLAINED_IMAGES] for part in data)
    outside = EnergyInRegion()(explain(model, images, labels), region=patch)
    return 1 - float(outside)
