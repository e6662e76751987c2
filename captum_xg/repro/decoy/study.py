"""What was done of the decoy experiment, with its tables, numbers and pictures written to files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch

from captum_xg._core.files import write_json, write_text
from captum_xg.repro.decoy import report
from captum_xg.repro.decoy.protocol import Labelled, Method, Settings, Split, decoys
from captum_xg.repro.decoy.results import Outcome
from captum_xg.repro.decoy.store import Store
from captum_xg.repro.decoy.training import network

FILES = ("decoy.json", "decoy.md", "decoy.png", "decoy_examples.png")


class Study(NamedTuple):
    """What was done: outcomes, what they are about in a sentence, the tables as text, all numbers."""

    outcomes: dict[Method, Outcome]
    about: str
    text: str
    content: dict[str, object]


def write_study(
    outcomes: dict[Method, Outcome],
    images: Split,
    settings: Settings,
    store: Store,
    folder: Path,
    device: torch.device,
    described: str,
) -> Study:
    """Write tables, all numbers and pictures; ``described`` says which images they are."""
    from captum_xg.repro.decoy.figure import draw_accuracies, draw_examples

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    seeds = len(outcomes[next(iter(outcomes))].runs)
    about = (
        f"Decoy Fashion-MNIST, {described}, {settings.train_images:,} training images, {seeds} seeds, "
        f"{settings.steps:,} steps of {settings.batch_size} images; {name}."
    )
    text, markdown = report.documents(about, outcomes)
    write_text(folder / "decoy.md", markdown)
    content = {
        "settings": asdict(settings),
        "seeds": seeds,
        "device": name,
        "torch": torch.__version__.split("+")[0],
        "methods": report.as_json(outcomes),
    }
    write_json(folder / "decoy.json", content)
    draw_accuracies(folder / "decoy.png", outcomes, about)
    models = {}
    for method, outcome in outcomes.items():
        model = network(settings, bias=method.bias, seed=0)
        if not method.clean and store.load(model, method, outcome.weight, 0):
            models[method] = model
    if models:
        shown = Labelled(*(part[:500].cpu() for part in decoys(images, 0).test))
        draw_examples(folder / "decoy_examples.png", models, shown)
    return Study(outcomes, about, text, content)
