"""Attributions of tokens by the methods that are compared, and their means by word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from captum.attr import LayerIntegratedGradients
from torch import Tensor

from captum_xg import LayerXGradient
from captum_xg.datasets.vocabulary import PADDING
from captum_xg.repro.texts.data import Task
from captum_xg.repro.texts.networks import Score
from captum_xg.repro.texts.training import trimmed

IG_STEPS = 50
"""Captum's default."""
X_GRADIENT, IG, GRADIENT_X_INPUT, GRADIENT, RANDOM = (
    "X-Gradient", f"Integrated Gradients ({IG_STEPS})", "gradient × input", "gradient", "random",
)  # fmt: skip

Attribute = Callable[[Tensor], Tensor]


def x_gradient(score: Score) -> Attribute:
    """Return what gives X-Gradient of each token ``(N, T)``, summed over its embedding; one object, one proof."""
    method = LayerXGradient(score, score.model.embedding)

    def attribute(ids: Tensor) -> Tensor:
        found: Tensor = method.attribute(ids)
        return found.sum(-1).detach()

    return attribute


def integrated_gradients(score: Score, ids: Tensor, steps: int = IG_STEPS) -> Tensor:
    """Return Captum's Integrated Gradients of each token ``(N, T)`` from zero, the embedding of padding."""
    method = LayerIntegratedGradients(score, score.model.embedding)
    # The size depends on the steps alone, so that numbers do not depend on how texts are put together.
    size = max(len(ids), 2048)
    found: Tensor = method.attribute(ids, torch.zeros_like(ids), n_steps=steps, internal_batch_size=size)
    return found.sum(-1).detach()


def gradient(score: Score, ids: Tensor, *, times_input: bool) -> Tensor:
    """Return the gradient of each token ``(N, T)``, summed over its embedding; multiplied by that before if asked."""
    model = score.model
    tokens = model.embedding(ids).detach().requires_grad_()
    outputs = model.from_embedding(tokens, ids == PADDING)
    value = outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]
    (found,) = torch.autograd.grad(value.sum(), tokens)
    per_token: Tensor = ((found * tokens).detach() if times_input else found).sum(-1)
    return per_token


def methods_of(score: Score, *, x: bool) -> Mapping[str, Attribute]:
    """Return the methods that apply to a network: X-Gradient where it is of degree 1, the others to its twin."""
    both = {GRADIENT: partial(gradient, score, times_input=False)}
    if x:
        return {X_GRADIENT: x_gradient(score), **both}
    return {
        IG: partial(integrated_gradients, score),
        GRADIENT_X_INPUT: partial(gradient, score, times_input=True),
        **both,
    }


def by_word(attribute: Attribute, ids: Tensor, task: Task) -> Tensor:
    """Return the mean attribution of each word of known valence over all of its tokens in texts, float64 ``(W,)``."""
    size = len(task.vocabulary)
    sums, counts = (torch.zeros(size, dtype=torch.float64, device=ids.device) for _ in range(2))
    by_length = ids[(ids != PADDING).sum(1).argsort(stable=True)]  # with others of its length a text has no padding
    for part in map(trimmed, torch.split(by_length, 256)):
        found = attribute(part)
        sums.index_add_(0, part.flatten(), found.flatten().double())
        counts.index_add_(0, part.flatten(), torch.ones_like(found, dtype=torch.float64).flatten())
    chosen = torch.tensor([task.vocabulary.ids[word] for word in task.words], device=ids.device)
    return (sums[chosen] / counts[chosen]).cpu()


def random_attributions(words: int, seed: int) -> Tensor:
    """Return what has nothing to do with any network, one number per word."""
    return torch.randn(words, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
