"""A token that gives the label away in training and means nothing at test; does a prior keep a network from it?

Every text gets one of two further tokens at a random place. In training it says the class; on validation and test texts
it is drawn by a coin. The prior is on the attributions of that token to the score of the true class, at the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from captum.attr import LayerIntegratedGradients
from torch import Tensor
from torch.nn import functional as F

from captum_xg.datasets.vocabulary import PADDING
from captum_xg.errors import NonFinitePriorError
from captum_xg.priors import AttributionPriorLoss, RightForRightReasons
from captum_xg.repro import experiment
from captum_xg.repro.texts.data import Part, Task
from captum_xg.repro.texts.networks import network
from captum_xg.repro.texts.settings import Settings
from captum_xg.repro.texts.training import Loss, run, scored, scores, trimmed

SELECTION_SEED = 1000
"""The first of the seeds that λ is chosen with; those that are reported begin at 0."""
_SHARE_STEPS, _SHARE_TEXTS = 32, 200


@dataclass(frozen=True)
class Method(experiment.Method):
    """One way to train; ``clean`` ones train and test on texts without decoys: what there is to recover."""

    clean: bool = False


CLEAN = Method("clean", "no decoys, twin", "", bias=True, clean=True)
CLEAN_X = Method("clean-x", "no decoys, degree 1", "", bias=False, clean=True)
NO_PRIOR = Method("none", "no prior, twin", "", bias=True)
NO_PRIOR_X = Method("none-x", "no prior, degree 1", "", bias=False)
INPUT_X_GRADIENT = Method("ixg", "input × gradient, twin", "input_x_gradient", bias=True)
EG_1 = Method("eg1", "Expected Gradients (1), twin", "expected_gradients", bias=True, n_references=1)
X_GRADIENT = Method("xg", "X-Gradient, degree 1", "xgradient", bias=False)
METHODS = (CLEAN, CLEAN_X, NO_PRIOR, NO_PRIOR_X, INPUT_X_GRADIENT, EG_1, X_GRADIENT)
"""In the order of the tables."""
PRIORS = tuple(method for method in METHODS if method.has_prior)


def with_decoys(part: Part, vocabulary: int, *, seed: int, telling: bool) -> Part:
    """Return texts with one of the tokens ``vocabulary`` and ``vocabulary + 1`` at a random place of each.

    Args:
        part: Texts that all have a class.
        vocabulary: Ids of the words.
        seed: Of the places, and of what the tokens say where that is nothing.
        telling: Whether the token is that of the class.
    """
    n, longest = part.ids.shape
    draw = torch.Generator().manual_seed(seed)
    lengths = (part.ids != PADDING).sum(1).cpu()
    places = (torch.rand(n, generator=draw) * (lengths + 1)).long().to(part.ids.device)[:, None]
    said = torch.randint(2, (n,), generator=draw).to(part.ids.device)
    tokens = vocabulary + (part.labels if telling else said)[:, None]
    columns = torch.arange(longest + 1, device=part.ids.device)[None]
    before = F.pad(part.ids, (0, 1))  # where it is left of the new token, the text stays where it is
    behind = F.pad(part.ids, (1, 0))
    ids = torch.where(columns < places, before, torch.where(columns == places, tokens, behind))
    return Part(ids, part.ratings, part.labels)


def mask_of(ids: Tensor, vocabulary: int, width: int) -> Tensor:
    """Return True at the embeddings of decoys, shape ``(N, T, width)``."""
    return (ids >= vocabulary)[..., None].expand(-1, -1, width)


def trained_on_decoys(
    task: Task, architecture: str, method: Method, weight: float, seed: int, settings: Settings, device: torch.device
) -> dict[str, Any]:
    """Train one network, and return accuracies and the share of the attributions that decoys have.

    ``validation`` and ``test`` are on texts whose decoys say nothing (or that have none, for methods on clean texts);
    ``confounded`` is on validation texts whose decoys say the class, and cannot choose anything. Empty if training
    diverged.
    """
    words = len(task.vocabulary)
    parts = [part.classified().to(device) for part in (task.train, task.validation, task.test)]
    if not method.clean:
        tellings = (True, False, False)
        seeds = (3 * seed, 3 * seed + 1, 3 * seed + 2)
        shown = [with_decoys(p, words, seed=s, telling=t) for p, s, t in zip(parts, seeds, tellings, strict=True)]
    else:
        shown = parts
    model = network(architecture, words + 2, 2, settings, x=not method.bias, seed=seed).to(device)
    loss = _loss(model, method, weight, words, settings, seed, device)
    try:
        run(model, loss, shown[0], settings, settings.decoy_epochs, seed, no_dropped_from=words)
    except NonFinitePriorError:
        return {}
    found = {
        name: scores(model, part)["accuracy"] for name, part in zip(("validation", "test"), shown[1:], strict=True)
    }
    if not method.clean:
        confounded = with_decoys(parts[1], words, seed=3 * seed + 1, telling=True)
        found["confounded"] = scores(model, confounded)["accuracy"]
        found["share"] = _share(model, shown[2].ids[:_SHARE_TEXTS], words)
    return found


def _loss(
    model: Any, method: Method, weight: float, words: int, settings: Settings, seed: int, device: torch.device
) -> Loss:
    if not method.has_prior:
        return lambda part: F.cross_entropy(model(part.ids), part.labels)
    options: dict[str, Any] = {}
    if method.n_references:
        options = {"n_samples": method.n_references, "generator": torch.Generator(device).manual_seed(seed)}
    prior = AttributionPriorLoss(
        model, RightForRightReasons(), weight=weight, attribution=method.attribution, layer="embedding", **options
    )
    return lambda part: prior(part.ids, part.labels, mask=mask_of(part.ids, words, settings.width)).total


def _share(model: Any, ids: Tensor, words: int) -> float:
    """Return the share of absolute token attributions that decoys have: the same yardstick for all networks."""
    score, part = scored(model), trimmed(ids)
    method = LayerIntegratedGradients(score, model.embedding)
    found = method.attribute(part, torch.zeros_like(part), n_steps=_SHARE_STEPS, internal_batch_size=2048)
    sizes = found.sum(-1).abs().detach()
    return float((sizes * (part >= words)).sum() / sizes.sum())
