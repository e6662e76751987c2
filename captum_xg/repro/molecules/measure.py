"""Units of the experiment: one network trained on one task from one seed, and what it came to.

A unit keeps the predictions of all test molecules, and for log P what the correlation of attributions with true
contributions is made of, molecule by molecule, so that everything in the report can be resampled over molecules. The
trained weights lie beside the units, in float16 and only to be looked at or shipped: no number is read from them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.files import make_folder, write_tensors
from captum_xg.models.graph import GIN, Graphs
from captum_xg.repro.molecules.attributions import (
    METHODS,
    atom_attributions,
    distance_of_methods,
    steps_for_one_percent,
)
from captum_xg.repro.molecules.tasks import LOG_P, Task
from captum_xg.repro.molecules.training import NETWORKS, Recipe, predicted, trained


@dataclass(frozen=True)
class Setting:
    """What all units depend on.

    Attributes:
        tasks: Name → task.
        recipes: Name of a task → how networks are trained on it.
        seeds: Of the repetitions.
        most_steps: For how many molecules the twin's steps are counted.
        device: Where.
        folder: Of the trained weights.
    """

    tasks: Mapping[str, Task]
    recipes: Mapping[str, Recipe]
    seeds: tuple[int, ...]
    most_steps: int
    device: torch.device
    folder: Path


def units_of(setting: Setting) -> dict[str, Callable[[], Mapping[str, Any]]]:
    """Return the units, by their names."""
    return {
        unit_name(task, network, seed): partial(_unit, setting, task, network, seed)
        for task in setting.tasks
        for seed in setting.seeds
        for network in NETWORKS
    }


def unit_name(task: str, network: str, seed: int) -> str:
    """Return the name of a unit."""
    return f"{task}, {network}, seed {seed}"


def weights_file(folder: Path, network: str, task: str, seed: int) -> Path:
    """Return where the weights of a unit lie."""
    return folder / f"{network} {task} {seed}.pt".replace(" ", "_")


def _unit(setting: Setting, name: str, network: str, seed: int) -> dict[str, Any]:
    task, device = setting.tasks[name], setting.device
    recipe = setting.recipes[name]
    model, size = trained(network, task.train.graphs(), task.targets(task.train), recipe, seed, device)
    make_folder(setting.folder)
    file = weights_file(setting.folder, network, name, seed)
    write_tensors(file, {key: value.half().cpu() for key, value in scaled(model, size).state_dict().items()})
    found: dict[str, Any] = {
        "predicted": (predicted(model, task.test.graphs(), 1.0, device) + task.shift).tolist(),
        "measured": task.target(task.test).tolist(),
    }
    if name == LOG_P:
        found |= _explained(model, network, task, setting)
    return found


def scaled(model: GIN, size: float) -> GIN:
    """Multiply what a model gives by a number, in place, in its last layer, and return it."""
    with torch.no_grad():
        model.head.weight.mul_(size)
        if model.head.bias is not None:
            model.head.bias.mul_(size)
    return model


def _explained(model: GIN, network: str, task: Task, setting: Setting) -> dict[str, Any]:
    truth = task.test.padded_contributions()
    graphs = task.test.graphs().to(setting.device)
    found: dict[str, Any] = {"moments": {}, "ranks": {}, "gaps": {}}
    changes = predicted(model, graphs, 1.0, setting.device) - predicted(
        model, _without_features(graphs), 1.0, setting.device
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Input Tensor . ")  # Captum's note that inputs are to require gradients
        for method in METHODS[network]:
            numbers = atom_attributions(model, graphs, method)
            real = ~graphs.padding.cpu()
            found["moments"][method] = moments(numbers, truth, real).tolist()
            found["ranks"][method] = rank_correlations(numbers, truth, real)
            found["gaps"][method] = (numbers.sum(1) - changes).abs().tolist()
        some = graphs.take(torch.arange(min(setting.most_steps, len(task.test)), device=setting.device))
        if network == "xgin":
            found["distance"] = distance_of_methods(model, some)
        else:
            found["steps"] = steps_for_one_percent(model, some)
    return found


def _without_features(graphs: Graphs) -> Graphs:
    """Return the baseline: the same structure, and zeros for all features."""
    return Graphs(torch.zeros_like(graphs.nodes), torch.zeros_like(graphs.edges), *graphs.structure)


def moments(numbers: Tensor, truth: Tensor, real: Tensor) -> Tensor:
    """Return what Pearson's correlation over all atoms is made of: (n, Σa, Σt, Σa², Σt², Σat) of each molecule.

    Args:
        numbers: Attributions ``(n, A)``.
        truth: Contributions ``(n, A)``.
        real: ``(n, A)``, True where there is an atom.
    """
    a, t = (torch.where(real, each, 0.0) for each in (numbers, truth))
    return torch.stack([real.double(), a, t, a.square(), t.square(), a * t], 2).sum(1)


def correlation(sums: Tensor) -> Tensor:
    """Return Pearson's correlation over the atoms of all molecules from :func:`moments` of them, ``(…, n, 6)``."""
    count, a, t, aa, tt, at = sums.mean(-2).unbind(-1)
    covariance = at - a * t / count
    spread = (aa - a.square() / count) * (tt - t.square() / count)
    # NaN where one of both never varies: there is no correlation then.
    return covariance / spread.sqrt()


def rank_correlations(numbers: Tensor, truth: Tensor, real: Tensor) -> list[float | None]:
    """Return Spearman's correlation within each molecule; None where one of both never varies."""
    found: list[float | None] = []
    for row, own, there in zip(numbers, truth, real, strict=True):
        ranks = torch.stack([_ranks(row[there]), _ranks(own[there])])
        centred = ranks - ranks.mean(1, keepdim=True)
        spread = centred.square().sum(1).prod().sqrt()
        found.append(float(centred.prod(0).sum() / spread) if float(spread) > 0 else None)
    return found


def _ranks(values: Tensor) -> Tensor:
    """Return ranks, the mean of them for equal values."""
    below = (values[None] < values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1)
    return (below + (equal - 1) / 2).double()
