"""The units of the experiment: each trains one network, and returns its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_xg.datasets.vocabulary import tokenise
from captum_xg.repro.texts import steps
from captum_xg.repro.texts.data import Task
from captum_xg.repro.texts.decoys import PRIORS, SELECTION_SEED, Method, trained_on_decoys
from captum_xg.repro.texts.explaining import IG, X_GRADIENT, by_word, methods_of
from captum_xg.repro.texts.networks import Score, network
from captum_xg.repro.texts.settings import Settings
from captum_xg.repro.texts.training import OUTPUTS, fit, scored, scores

Units: TypeAlias = Mapping[str, Callable[[], Mapping[str, Any]]]
KINDS = {True: "degree 1", False: "twin"}


def network_name(goal: str, architecture: str, seed: int, *, x: bool) -> str:
    """Return the name of the unit that trains a network on what is learnt there."""
    return f"{goal}, {architecture}, {KINDS[x]}, seed {seed}"


def decoy_name(architecture: str, method: Method, weight: float, seed: int) -> str:
    """Return the name of the unit that trains a network on decoys."""
    strength = f" {weight:g}" if method.has_prior else ""
    return f"decoys, {architecture}, {method.key}{strength}, seed {seed}"


def network_units(task: Task, settings: Settings, device: torch.device) -> Units:
    """Return the units that train networks on classes and ratings, by name; seed by seed."""
    units: dict[str, Callable[[], Mapping[str, Any]]] = {}
    for seed in range(settings.seeds):
        for architecture in settings.networks:
            for goal in OUTPUTS:
                for x in (True, False):
                    unit = partial(measured, task, goal, architecture, seed, settings, device, x=x)
                    units[network_name(goal, architecture, seed, x=x)] = unit
    return units


def selection_units(task: Task, settings: Settings, device: torch.device) -> Units:
    """Return the units that choose λ on decoys, by name."""
    seeds = range(SELECTION_SEED, SELECTION_SEED + settings.selection_seeds)
    return {
        decoy_name(a, method, weight, seed): partial(trained_on_decoys, task, a, method, weight, seed, settings, device)
        for a in settings.decoy_networks
        for method in PRIORS
        for weight in settings.weights
        for seed in seeds
    }


def decoy_units(
    task: Task, settings: Settings, device: torch.device, chosen: Mapping[tuple[str, Method], float]
) -> Units:
    """Return the units on decoys that are reported, by name.

    Args:
        task: What is learnt.
        settings: By which settings.
        device: Where.
        chosen: λ by architecture and method; 0 for methods without a prior.
    """
    return {
        decoy_name(a, method, weight, seed): partial(trained_on_decoys, task, a, method, weight, seed, settings, device)
        for seed in range(settings.seeds)
        for (a, method), weight in chosen.items()
    }


def measured(
    task: Task, goal: str, architecture: str, seed: int, settings: Settings, device: torch.device, *, x: bool
) -> dict[str, Any]:
    """Train a network, and return how good it is and what it sees in words.

    ``words``: attributions by word and method, on all test texts. Of networks of degree 1 ``difference`` of X-Gradient
    from the integral and ``gap`` of its sum; of twins ``steps`` that the integral needs on each text, None for more
    than were tried. ``examples``: attributions of the tokens of a few texts.
    """
    parts = [part.classified() if goal == "classes" else part for part in (task.train, task.validation, task.test)]
    train, validation, test = (part.to(device) for part in parts)
    model = network(architecture, len(task.vocabulary), OUTPUTS[goal], settings, x=x, seed=seed).to(device)
    found: dict[str, Any] = {"epoch": fit(model, train, validation, settings, seed), "test": scores(model, test)}
    score, ids = scored(model), task.test.ids.to(device)
    methods = methods_of(score, x=x)
    found["words"] = {name: _numbers(by_word(method, ids, task)) for name, method in methods.items()}
    some = ids[: settings.steps_texts]
    if x:
        found["difference"] = steps.difference_from_integral(score, some)
        found["gap"] = steps.missing_sum(score, some)
    else:
        found["steps"] = steps.steps_needed(score, some, settings.reference_steps)
    if goal == "classes" and seed == 0:
        found["examples"] = _examples(score, methods[X_GRADIENT if x else IG], task, device)
    return found


def _examples(score: Score, attribute: Callable[[Tensor], Tensor], task: Task, device: torch.device) -> list[Any]:
    found = []
    for text in task.examples:
        ids = task.vocabulary.encode([text]).to(device)
        with torch.no_grad():
            value = float(score(ids))
        found.append({"tokens": tokenise(text), "attributions": _numbers(attribute(ids)[0]), "score": value})
    return found


def _numbers(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
