"""The units of the experiment: each trains one network once and measures it, or measures a cost.

They know nothing of each other, so that processes and machines may share them. Trainings of the two networks that are
compared leave their weights, too, in float16, in which they are measured: ``xvit_small_0.pt``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captum_xg import certify
from captum_xg._core.files import make_folder, write_tensors
from captum_xg.repro.environment import environment
from captum_xg.repro.patches import cost
from captum_xg.repro.patches.integration import deviations, errors, numbers_of_steps
from captum_xg.repro.patches.networks import COMPARED, VARIANTS, Network, fresh
from captum_xg.repro.patches.protocol import Data, Labelled, Protocol
from captum_xg.repro.patches.training import correct, is_finite, train

ROUNDS = {"cpu": 10, "cuda": 60}
COST_IMAGES = {"cpu": (8, 48), "cuda": (512, 4096)}
"""A small batch and a large one: what X-Gradient adds to the two passes is the same for any batch."""
Work = Callable[[], Mapping[str, Any]]


def units(protocol: Protocol, data: Data, seeds: int, weights: Path) -> dict[str, Work]:
    """Return what there is to do, by name."""
    found: dict[str, Work] = {}
    for seed in range(seeds):
        for network in (*COMPARED, *VARIANTS):
            found[name_of(network, seed)] = partial(_trained, network, seed, protocol, data, weights)
    small, large = COST_IMAGES[data.test.images.device.type]
    found["cost-attribution-small"] = partial(_cost, cost.attribution, data, small)
    found["cost-attribution-large"] = partial(_cost, cost.attribution, data, large)
    found["cost-training"] = partial(_cost, cost.training, data, small)
    return found


def name_of(network: Network, seed: int) -> str:
    """Return the name of a unit, as ``--only`` takes it."""
    return f"{network.key}-{seed}"


def _trained(network: Network, seed: int, protocol: Protocol, data: Data, weights: Path) -> dict[str, Any]:
    model = fresh(network, protocol.dropout, seed).to(data.train.images.device)
    epochs = protocol.ablation_epochs if network.changes else protocol.epochs
    began = time.perf_counter()
    losses = train(model, data.train, protocol, epochs=epochs, seed=seed)
    seconds = time.perf_counter() - began
    finite = is_finite(losses)
    state = {key: value.to("cpu", torch.float16) for key, value in model.state_dict().items()}
    model.load_state_dict(state)  # what is kept is in float16, so that is what is measured
    if network in COMPARED:
        write_tensors(make_folder(weights) / f"{network.key}_{seed}.pt", state)
    right = correct(model, data.test)
    found = {
        "network": network.key,
        "seed": seed,
        "epochs": epochs,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        # JSON has no NaN; a diverged training is told by this flag.
        "finite": finite,
        "losses": losses if finite else [],
        "validation_accuracy": float(correct(model, data.validation).double().mean()),
        "test_accuracy": float(right.double().mean()),
        "training_seconds": seconds,
        "torch": torch.__version__.partition("+")[0],
    }
    if not finite:
        return found
    return {**found, **_measured(network, model, protocol, data)}


def _measured(network: Network, model: nn.Module, protocol: Protocol, data: Data) -> dict[str, Any]:
    if not network.regular:
        on_cpu = fresh(network, 0.0, 0).eval()
        on_cpu.load_state_dict({key: value.cpu() for key, value in model.state_dict().items()})
        certificate = certify(on_cpu, data.test.images[:2].cpu())
        proven: dict[str, Any] = {"proven": certificate.homogeneous, "degree": certificate.degree}
    else:
        proven = {}
    if network.changes:
        return proven
    n = protocol.measured_images
    model, shown = model.double(), Labelled(data.test.images[:n].double(), data.test.labels[:n])
    if not network.regular:
        return {**proven, "deviations": deviations(model, shown)}
    found = errors(model, shown, numbers_of_steps(protocol.most_steps), protocol.reference_steps)
    return {"errors": {str(steps): values for steps, values in found.items()}}


def _cost(measure: Callable[[Labelled, int], dict[str, list[float]]], data: Data, images: int) -> dict[str, Any]:
    device = data.test.images.device
    n = min(images, len(data.test.labels))
    where = environment(device.type if device.index is None else str(device))
    return {
        "seconds": measure(Labelled(*(part[:n] for part in data.test)), ROUNDS[device.type]),
        "images": n,
        "device": where.get("accelerator", where["processor"]),
    }
