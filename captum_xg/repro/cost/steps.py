r"""Ways to do one training step: without a prior, with X-Gradient, with Expected Gradients in four ways.

Expected Gradients of an example is the mean of k terms (x − r) ⊙ ∇F(r + α(x − r)), and the prior Ω is a function of
that mean A. Whatever the way, the parameters get the gradient of task + Ω(A):

* one batch: all k·n points in one forward pass, one graph;
* loop: point after point, each with a graph of its own, all of which are kept for the one backward pass;
* one graph at a time: first A without graphs, and g = ∂Ω/∂A; then for each chunk of points its part of A with a graph,
  and the backward pass of g·(that part), after which the graph is freed. The sum of these is g·∂A/∂θ = ∂Ω/∂θ, at the
  price of computing every gradient twice: 8 forward passes' worth of arithmetic for each point in place of 6.

α is drawn anew in every step, references are there already: loading them, which training has to do too, is left out.

Source: Hesse et al. 2021, Appendix B.3; Erion et al. 2021, whose released code, which the paper used, is the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from captum_xg.priors import AttributionPriorLoss, GiniSparsity
from captum_xg.repro.cost.networks import Setting

Step = Callable[[], None]
CHUNK = 8
"""References at a time, for the way in chunks."""


@dataclass(frozen=True)
class Way:
    """One way to do a step.

    Attributes:
        key: Its name in files.
        label: Its name in tables.
        bias: Whether the network has biases.
        gradient: From a network, the setting and a generator of α to what fills the parameters' ``.grad``.
        trains: Whether a step of the optimiser belongs to it.
    """

    key: str
    label: str
    bias: bool
    gradient: Callable[[nn.Module, Setting, torch.Generator], Step]
    trains: bool = True


def step_of(way: Way, setting: Setting) -> tuple[Step, int]:
    """Return a step, and how many bytes weights, momenta, images and references hold throughout."""
    model = setting.network(bias=way.bias)
    fill = way.gradient(model, setting, torch.Generator(setting.device).manual_seed(2))
    # Steps are tiny, so that the network that is timed stays what it is.
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        fill()
        if way.trains:
            optimizer.step()

    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    images, labels, references = setting.batch()
    parts = (images, labels, references) if way in EXPECTED else (images, labels)
    held = sum(each.numel() * each.element_size() for each in parts)
    return step, weights * (1 + way.trains) + held


def _prior() -> GiniSparsity:
    return GiniSparsity(across_processes=False)  # a step is one process's own; the others may be at another


def _plain(model: nn.Module, setting: Setting, generator: torch.Generator) -> Step:
    images, labels, _ = setting.batch()
    return lambda: torch.autograd.backward(cross_entropy(model(images), labels))


def _one_pass(model: nn.Module, setting: Setting, generator: torch.Generator, *, validate: str) -> Step:
    images, labels, _ = setting.batch()
    loss = AttributionPriorLoss(model, _prior(), attribution="xgradient", validate=validate)
    return lambda: torch.autograd.backward(loss(images, labels).total)


def _attribution_alone(model: nn.Module, setting: Setting, generator: torch.Generator) -> Step:
    images, labels, _ = setting.batch()

    def attribute() -> None:
        _gradients_at(model, images, labels, create_graph=False).mul_(images)

    return attribute


def _one_batch(model: nn.Module, setting: Setting, generator: torch.Generator) -> Step:
    images, labels, references = setting.batch()
    # Each reference once and in its place, as in the other ways.
    options: Any = {"n_samples": setting.references, "references": lambda _: references, "generator": generator}
    loss = AttributionPriorLoss(model, _prior(), attribution="expected_gradients", **options)
    return lambda: torch.autograd.backward(loss(images, labels).total)


def _loop(model: nn.Module, setting: Setting, generator: torch.Generator) -> Step:
    images, labels, references = setting.batch()
    prior = _prior()

    def fill() -> None:
        task = cross_entropy(model(images), labels)
        alpha = _alpha(images, references, generator)
        points, displacements = _points(images, references, alpha)
        gradients = [_gradients_at(model, points[:, i], labels, create_graph=True) for i in range(points.shape[1])]
        attributions = (displacements * torch.stack(gradients, 1)).mean(1)
        torch.autograd.backward(task + prior(attributions))

    return fill


def _graph_after_graph(model: nn.Module, setting: Setting, generator: torch.Generator, *, chunk: int) -> Step:
    images, labels, references = setting.batch()
    prior, k = _prior(), setting.references

    def part(alpha: Tensor, start: int, *, create_graph: bool) -> Tensor:
        """Return what some of the points give to the mean."""
        end = min(start + chunk, k)
        chosen = references.reshape(len(images), k, *images.shape[1:])[:, start:end].flatten(0, 1)
        some, moved = _points(images, chosen, alpha[:, start:end])
        rows = labels.repeat_interleave(some.shape[1])
        gradients = _gradients_at(model, some.flatten(0, 1), rows, create_graph=create_graph)
        return (moved * gradients.reshape(some.shape)).sum(1) / k

    def fill() -> None:
        torch.autograd.backward(cross_entropy(model(images), labels))
        alpha = _alpha(images, references, generator)
        attributions = torch.zeros_like(images)
        for start in range(0, k, chunk):
            attributions += part(alpha, start, create_graph=False)
        attributions.requires_grad_()
        (slope,) = torch.autograd.grad(prior(attributions), attributions)
        for start in range(0, k, chunk):
            own = part(alpha, start, create_graph=True)
            torch.autograd.backward((slope * own).sum())

    return fill


def _alpha(images: Tensor, references: Tensor, generator: torch.Generator) -> Tensor:
    """Return one α for each reference, ``(N, k)``, in the order in which one batch draws them."""
    drawn = torch.rand(len(references), generator=generator, device=images.device, dtype=images.dtype)
    return drawn.reshape(len(images), -1)


def _points(images: Tensor, references: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Return points between references and images, and the displacements, each ``(N, k, …)``."""
    starts = references.reshape(*alpha.shape, *images.shape[1:])
    displacements = images.unsqueeze(1) - starts
    return starts + alpha.reshape(*alpha.shape, *[1] * (images.dim() - 1)) * displacements, displacements


def _gradients_at(model: nn.Module, points: Tensor, labels: Tensor, *, create_graph: bool) -> Tensor:
    points = points.detach().requires_grad_()
    scores = model(points).gather(1, labels.unsqueeze(1)).sum()
    return torch.autograd.grad(scores, points, create_graph=create_graph)[0]


PLAIN = Way("plain", "no prior", True, _plain)
PLAIN_X = Way("plain X", "no prior, X-DNN", False, _plain)
ALONE = Way("XG alone", "X-Gradient, only the attribution", False, _attribution_alone, trains=False)
XG = Way("XG", "X-Gradient", False, partial(_one_pass, validate="certificate"))
XG_UNCHECKED = Way("XG unchecked", "X-Gradient, homogeneity not checked", False, partial(_one_pass, validate="off"))
EG_BATCH = Way("EG batch", "Expected Gradients, one batch", True, _one_batch)
EG_LOOP = Way("EG loop", "Expected Gradients, loop", True, _loop)
EG_CHUNKS = Way(
    "EG chunks", f"Expected Gradients, {CHUNK} references at a time", True, partial(_graph_after_graph, chunk=CHUNK)
)
EG_FRUGAL = Way("EG frugal", "Expected Gradients, one graph at a time", True, partial(_graph_after_graph, chunk=1))
WAYS = (PLAIN, PLAIN_X, ALONE, XG, XG_UNCHECKED, EG_BATCH, EG_LOOP, EG_CHUNKS, EG_FRUGAL)
EXPECTED = (EG_BATCH, EG_LOOP, EG_CHUNKS, EG_FRUGAL)
