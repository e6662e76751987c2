"""The units of the experiment: train a network and measure it, measure its filters, restore an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captum_xg._core.files import make_folder, write_json, write_tensors
from captum_xg.datasets.photographs import TEST, TRAINING, photograph
from captum_xg.models import load_checkpoint
from captum_xg.models.small_weights import DENOISER_FILE, load_small
from captum_xg.repro.restoration import filters
from captum_xg.repro.restoration.measure import psnr, quality
from captum_xg.repro.restoration.protocol import (
    SEEN,
    WINDOWS,
    Protocol,
    held_out,
    name_of,
    network,
    with_noise,
)
from captum_xg.repro.restoration.results import Family
from captum_xg.repro.restoration.training import train
from captum_xg.repro.subjects import model_digest
from captum_xg.repro.units import Unit, done

EXAMPLE = ("camera", 70, 190, 96)
"""Photograph, first row, first column and side of the picture that is shown restored."""
EXAMPLE_NOISE = 50


def networks(protocol: Protocol, folder: Path, device: torch.device) -> dict[str, Unit]:
    """Return what all units came to; weights lie beside them, in half precision."""
    weights = make_folder(folder / "weights")
    seeds: Sequence[int | None] = protocol.seeds or (None,)
    pairs = [(family, bias) for family in protocol.families for bias in (False, True)]
    settings = protocol.settings()
    if not protocol.seeds:
        settings["weights"] = {name_of(*pair[:1], bias=pair[1]): _shipped_digest(*pair) for pair in pairs}
    first = {
        unit_name(family, seed, bias=bias): partial(_quality, family, seed, protocol, weights, device, bias=bias)
        for family in protocol.families
        for seed in seeds
        for bias in (False, True)
    }
    # All weights are there before the filters of any are asked for, whichever process trains which network.
    found = done(folder / "units", settings, first, "networks")
    second = {
        f"filters of {unit_name(family, seeds[0], bias=bias)}": partial(
            _filters, family, seeds[0], protocol, weights, device, bias=bias
        )
        for family, bias in pairs
    }
    return found | done(folder / "units", settings, second, "filters")


def unit_name(family: str, seed: int | None, *, bias: bool) -> str:
    """Return the name of the unit of a network, of the shipped weights if there is no seed."""
    return f"{name_of(family, bias=bias)}, {'shipped' if seed is None else f'seed {seed}'}"


def families(units: Mapping[str, Unit], protocol: Protocol) -> list[Family]:
    """Return what the units say, by family."""
    seeds: Sequence[int | None] = protocol.seeds or (None,)
    found = []
    for family in protocol.families:
        xdnns, twins = (
            tuple(units[unit_name(family, seed, bias=bias)].value for seed in seeds) for bias in (False, True)
        )
        first, second = (units[f"filters of {unit_name(family, seeds[0], bias=b)}"].value for b in (False, True))
        found.append(Family(family, xdnns, twins, (first, second)))
    return found


def write_assets(assets: Path, found: Sequence[Family], protocol: Protocol, folder: Path) -> None:
    """Write the first DnCNN and its twin as the package ships them, and what they came to."""
    record: dict[str, Any] = {}
    for family in (each for each in found if each.key == "dncnn"):
        for bias, runs in ((False, family.xdnns), (True, family.twins)):
            name, model = name_of("dncnn", bias=bias), network("dncnn", bias=bias)
            load_checkpoint(model, _file(folder / "weights", "dncnn", protocol.seeds[0], bias=bias))
            write_tensors(assets / f"{name}.pt", {key: value.half() for key, value in model.state_dict().items()})
            ratios = {level: sum(values) / len(values) for level, values in runs[0]["psnr"].items()}
            record[name] = {"psnr": ratios, "seed": protocol.seeds[0], "parameters": _size(model)}
    content = {
        "measured_on": f"{len(held_out(protocol))} squares of {protocol.side} × {protocol.side} pixels of {len(TEST)} "
        "photographs, weights in float16, arithmetic in float32",
        "trained_on": f"{len(TRAINING)} photographs of scikit-image, σ from 0 to {SEEN[-1]} of 255",
        "recipe": f"{protocol.steps} steps of Adam, one-cycle learning rate up to {protocol.learning_rate}, "
        f"{protocol.batch} patches of {protocol.patch} × {protocol.patch} pixels each",
        "networks": record,
    }
    write_json(assets / DENOISER_FILE, content)


def _quality(
    family: str, seed: int | None, protocol: Protocol, weights: Path, device: torch.device, *, bias: bool
) -> dict[str, Any]:
    if seed is None:
        model = _network(family, None, weights, bias=bias).to(device)
    else:
        model = train(family, seed, protocol, device, bias=bias)
        state = {name: value.half().cpu() for name, value in model.state_dict().items()}
        write_tensors(_file(weights, family, seed, bias=bias), state)
    return {**quality(model, held_out(protocol), device), "device": device.type, "parameters": _size(model)}


def _filters(
    family: str, seed: int | None, protocol: Protocol, weights: Path, device: torch.device, *, bias: bool
) -> dict[str, Any]:
    model = _network(family, seed, weights, bias=bias)
    example = _example(model)
    return {**filters.measured(model, WINDOWS[family], protocol, device, bias=bias), "example": example}


def _example(model: nn.Module) -> dict[str, Any]:
    name, row, column, side = EXAMPLE
    clean = photograph(name)[row : row + side, column : column + side][None, None]
    noisy = with_noise(clean, EXAMPLE_NOISE)
    with torch.no_grad():
        restored = model(noisy)
    parts = {"clean": clean, "noisy": noisy, "restored": restored}
    found: dict[str, Any] = {key: filters.packed(value[0, 0].numpy()) for key, value in parts.items()}
    return {**found, "psnr": psnr(restored, clean)[0], "psnr_noisy": psnr(noisy, clean)[0]}


def _network(family: str, seed: int | None, weights: Path, *, bias: bool) -> nn.Module:
    """Return a trained network on the CPU, in evaluation mode."""
    model = network(family, bias=bias)
    if seed is None:
        load_small(model, name_of(family, bias=bias))
    else:
        load_checkpoint(model, _file(weights, family, seed, bias=bias))
    return model.eval().requires_grad_(requires_grad=False)


def _shipped_digest(family: str, bias: bool) -> str:
    return model_digest(load_small(network(family, bias=bias), name_of(family, bias=bias)))


def _file(weights: Path, family: str, seed: int, *, bias: bool) -> Path:
    return weights / f"{name_of(family, bias=bias)}_seed{seed}.pt"


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
