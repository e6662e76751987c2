"""captum-xg repro decoy: a patch gives the label away in training and means nothing at test. Does a prior help?

Fashion-MNIST with the decoys of Ross et al. 2017: a 4×4 patch in a random corner, whose grey value is a function of the
label in training and random at test. Networks are told by a right-for-the-right-reasons prior not to attribute anything
to the patch; the question is on which attribution that works, and what it costs. λ is chosen on validation images with
random decoys. Source: Ross, Hughes and Doshi-Velez 2017; Hesse et al. 2021 for X-Gradient.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg._core.files import require_writable, write_json, write_text
from captum_xg.errors import OptionError
from captum_xg.repro.experiment import add_common_arguments

if TYPE_CHECKING:
    import torch

    from captum_xg.repro.decoy.protocol import Decoys, Method, Settings, Split
    from captum_xg.repro.decoy.results import Outcome
    from captum_xg.repro.decoy.store import Run, Store


FILES = ("decoy.json", "decoy.md", "decoy.png", "decoy_examples.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {"quick": "10,000 training images, minutes on one core", "full": "50,000"}
    data = "where Fashion-MNIST lies, or is downloaded to if it is missing"
    add_common_arguments(parser, "decoy", presets=presets, data=data, data_metavar="ROOT").required = True
    add = parser.add_argument
    add("--seeds", type=int, default=5, metavar="N", help="trainings of each method to report (default: %(default)s)")
    choosing = "other trainings, for each λ, that choose λ (default: %(default)s)"
    add("--selection-seeds", type=int, default=1, metavar="N", help=choosing)
    add("--weights", type=float, nargs="+", metavar="λ", help="to choose from (default: 0.01 … 10000)")
    add("--train-images", type=int, metavar="N", help="another number than that of the preset")
    add("--validation-images", type=int, metavar="N", help="likewise")
    add("--epochs", type=int, metavar="N", help="likewise")
    add("--batch-size", type=int, metavar="N", help="likewise")
    add("--learning-rate", type=float, metavar="RATE", help="likewise")


def run(options: argparse.Namespace) -> int:
    """Do what is missing, print the tables, write the numbers and pictures, and return 0."""
    from captum_xg._core.options import usable_device
    from captum_xg.datasets.fashion_mnist import load_fashion_mnist
    from captum_xg.repro.decoy.protocol import SELECTION_SEED, WEIGHTS, split
    from captum_xg.repro.decoy.store import Store
    from captum_xg.repro.estimate import t_quantile

    settings = _settings(options)
    weights = tuple(sorted(set(options.weights or WEIGHTS)))
    selection = options.selection_seeds
    if options.seeds < 2 or selection < 1 or not all(0 < weight < float("inf") for weight in weights):
        raise OptionError(
            "There must be at least 2 --seeds for an interval and 1 of --selection-seeds, and --weights must be above "
            f"0 and finite, but these are {options.seeds}, {selection} and {weights}."
        )
    if options.seeds > SELECTION_SEED:
        raise OptionError(f"--seeds {options.seeds}: from {SELECTION_SEED} on they are those that choose λ.")
    t_quantile(options.seeds - 1)  # what intervals need must be there before the trainings, not found missing after
    device = usable_device(options.device, "--device", only=("cpu", "cuda"))
    train, test = (
        tuple(tensor.to(device) for tensor in load_fashion_mnist(options.data, train=part)) for part in (True, False)
    )
    images = split(train, test, settings)  # type: ignore[arg-type]
    store = Store(options.output, {**asdict(settings), "device": device.type, "data": images.fingerprint()})
    for file in FILES:
        require_writable(options.output / file)
    outcomes = _outcomes(images, settings, store, weights, selection, options.seeds)
    _report(outcomes, images, settings, store, options.output, device)
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    from captum_xg.repro.decoy.protocol import PRESETS

    names = ("train_images", "validation_images", "epochs", "batch_size", "learning_rate")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    wrong = [f"--{name.replace('_', '-')} {value}" for name, value in given.items() if not 0 < value < float("inf")]
    if wrong:
        raise OptionError(f"{', '.join(wrong)}: must be above 0.")
    return replace(PRESETS[options.preset], **given)


def _outcomes(
    images: Split, settings: Settings, store: Store, weights: Sequence[float], selection: int, seeds: int
) -> dict[Method, Outcome]:
    """Return what comes out for each method, λ chosen."""
    from tqdm import tqdm

    from captum_xg.repro.decoy.protocol import METHODS, SELECTION_SEED, decoys, without_prior
    from captum_xg.repro.decoy.results import Outcome, choose
    from captum_xg.repro.decoy.timing import seconds_per_step

    priors = [method for method in METHODS if method.has_prior]
    steps = (len(priors) * len(weights) * selection + len(METHODS) * seeds) * settings.steps
    print(f"{steps // settings.steps} trainings of {settings.steps:,} steps, {steps:,} steps in all.", flush=True)
    grids: dict[Method, dict[float, list[Run]]] = {method: {} for method in METHODS}
    reported: dict[Method, list[Run]] = {method: [] for method in METHODS}
    with tqdm(total=steps, unit="step", unit_scale=True, dynamic_ncols=True) as bar:
        for seed in range(SELECTION_SEED, SELECTION_SEED + selection):
            data = decoys(images, seed)
            for method in priors:
                for weight in weights:
                    bar.set_description(f"choosing λ: {method.label}, {weight:g}")
                    done = _run(method, weight, seed, images, data, settings, store, bar.update)
                    grids[method].setdefault(weight, []).append(done)
        chosen = {m: choose(grids[m], lambda run: run.validation) if m.has_prior else 0.0 for m in METHODS}
        for seed in range(seeds):
            data = decoys(images, seed)
            for method in METHODS:
                bar.set_description(f"seed {seed}: {method.label}")
                reported[method].append(_run(method, chosen[method], seed, images, data, settings, store, bar.update))
    timed = [method for method in METHODS if not method.clean]
    with tqdm(desc="timing steps", unit="round", leave=False) as bar:
        seconds = seconds_per_step(timed, chosen, decoys(images, 0).train, settings, bar.update)
    # A step on clean images is a plain step, whatever is on the images.
    return {
        m: Outcome(m, chosen[m], tuple(reported[m]), grids[m], seconds[without_prior(m) if m.clean else m])
        for m in METHODS
    }


def _run(
    method: Method,
    weight: float,
    seed: int,
    images: Split,
    data: Decoys,
    settings: Settings,
    store: Store,
    progress: Callable[[int], object],
) -> Run:
    """Return a training from the store, or do it and put it there."""
    from captum_xg.repro.decoy.protocol import SELECTION_SEED, Labelled
    from captum_xg.repro.decoy.store import Run
    from captum_xg.repro.decoy.training import evaluate, train

    there = store.run(method, weight, seed)
    if there is not None:
        progress(settings.steps)
        return there
    shown = Labelled(*images.train, data.train.patch) if method.clean else data.train
    model = train(method, weight, seed, shown, settings, progress)
    done = Run(method.key, weight, seed, None if model is None else evaluate(model, method, images, data))
    store.add(method, done, None if model is None or seed >= SELECTION_SEED else model.state_dict())
    return done


def _report(
    outcomes: dict[Method, Outcome], images: Split, settings: Settings, store: Store, folder: Path, device: torch.device
) -> None:
    """Print the tables, and write them with all numbers and pictures."""
    import torch

    from captum_xg.repro.decoy import report
    from captum_xg.repro.decoy.figure import draw_accuracies, draw_examples
    from captum_xg.repro.decoy.protocol import Labelled, decoys
    from captum_xg.repro.decoy.training import network

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    seeds = len(outcomes[next(iter(outcomes))].runs)
    about = (
        f"Decoy Fashion-MNIST, {settings.train_images:,} training images, {seeds} seeds, {settings.steps:,} steps of "
        f"{settings.batch_size} images; {name}."
    )
    text, markdown = report.documents(about, outcomes)
    print(f"\n{text}")
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
    for file in FILES:
        print(f"{file}: {(folder / file).resolve()}")
