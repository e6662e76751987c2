"""The units of Figure 2: what networks say over contrast, attributions of the first images, maps of the first one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from captum_xg.repro.figure2.accuracy import Accuracy, predictions
from captum_xg.repro.figure2.attributions import STEPS, at_both, compared
from captum_xg.repro.figure2.comparisons import Comparisons
from captum_xg.repro.figure2.grid import Example
from captum_xg.repro.figure2.maps import maps_of
from captum_xg.repro.subjects import Pair, Subjects, model_digest
from captum_xg.repro.units import Unit, done

PREDICTED, EXPLAINED = 100, 5
"""Images in a unit."""


@dataclass(frozen=True)
class Measured:
    """What all units came to: of the X-DNN, and of the regular network."""

    xdnn: tuple[Accuracy, Comparisons]
    regular: tuple[Accuracy, Comparisons]
    example: Example
    units: Mapping[str, Unit]


def settings_of(chosen: Subjects, pair: Pair) -> dict[str, object]:
    """Return what numbers of both figures depend on."""
    networks = {name: model_digest(model) for name, model in pair.both.items()}
    return {**chosen.settings(), "networks": networks, "steps": STEPS}


def measured(chosen: Subjects, pair: Pair, n_explained: int, title: Callable[[int], str], folder: Path) -> Measured:
    """Return the numbers of Figure 2, doing what is missing.

    Args:
        chosen: The images.
        pair: The networks.
        n_explained: How many images attributions are compared on, the first ones.
        title: From the class of the first image to what it is called.
        folder: Of the units.
    """
    n = len(chosen.labels)
    explained = min(n, n_explained)
    units: dict[str, Callable[[], Mapping[str, Any]]] = {}
    names: dict[tuple[str, bool], list[str]] = {}
    for name, model in pair.both.items():
        x = model is pair.xdnn
        for kind, total, size in (("accuracy", n, PREDICTED), ("attributions", explained, EXPLAINED)):
            for i in range(0, total, size):
                last = min(i + size, total)
                unit = f"{kind}, {name}, images {i} to {last - 1}"
                work = _predicted if kind == "accuracy" else _explained
                units[unit] = partial(work, chosen, model, i, last, x)
                names.setdefault((kind, x), []).append(unit)
        units[f"maps, {name}"] = partial(_maps, chosen, model, 0, x)
        names[("maps", x)] = [f"maps, {name}"]
    found = done(folder, {**settings_of(chosen, pair), "explained": explained}, units, "figure 2")

    def of(x: bool) -> tuple[Accuracy, Comparisons]:
        accuracy = Accuracy.of([found[unit] for unit in names["accuracy", x]])
        return accuracy, Comparisons.of([found[unit].value for unit in names["attributions", x]])

    maps = {x: found[names["maps", x][0]].value for x in (True, False)}
    return Measured(of(True), of(False), Example(title(maps[True]["label"]), maps[True], maps[False]), found)


def maps_units(
    chosen: Subjects, pair: Pair, index: int
) -> tuple[dict[str, Callable[[], Mapping[str, Any]]], tuple[str, str]]:
    """Return the units of the maps of one image, and their names: of the X-DNN, and of the regular network."""
    x, regular = f"image {index}, x{pair.name}", f"image {index}, {pair.name}"
    units = {
        x: partial(_maps, chosen, pair.xdnn, index, True),
        regular: partial(_maps, chosen, pair.regular, index, False),
    }
    return dict(units), (x, regular)


def _predicted(chosen: Subjects, model: nn.Module, first: int, last: int, _: bool) -> dict[str, Any]:
    images, labels = chosen.rows(range(first, last))
    return predictions(model, images, labels)


def _explained(chosen: Subjects, model: nn.Module, first: int, last: int, xdnn: bool) -> dict[str, Any]:
    images, labels = chosen.rows(range(first, last))
    return compared(at_both(model, images, labels, xdnn=xdnn))


def _maps(chosen: Subjects, model: nn.Module, index: int, xdnn: bool) -> dict[str, Any]:
    image, label = chosen.rows([index])
    return maps_of(model, image, label, xdnn=xdnn)
