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

if TYPE_CHECKING:
    import torch

    from captum_xg.repro.decoy.protocol import Decoys, Method, Settings, Split
    from captum_xg.repro.decoy.results import Outcome
    from captum_xg.repro.decoy.store import Run, Store


FILES = ("decoy.json", "decoy.md", "decoy.png", "decoy_examples.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    parser.add_argument(
        "--preset",
        choices=("quick", "full"),
        default="quick",
        help="quick: 10,000 training images, minutes on one core. full: 50,000 (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="ROOT",
        help="where Fashion-MNIST lies, or is downloaded to if it is missing",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("captum-xg-decoy"),
        metavar="DIR",
        help="where results go; what is there already is not done again (default: %(default)s)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="trainings of each method to report (default: %(default)s)"
    )
    parser.add_argument(
        "--selection-seeds",
        type=int,
        default=1,
        metavar="N",
        help="other trainings, for each λ, that choose λ (default: %(default)s)",
    )
    parser.add_argument("--weights", type=float, nargs="+", metavar="λ", help="to choose from (default: 0.01 … 10000)")
    parser.add_argument("--train-images", type=int, metavar="N", help="another number than that of the preset")
    parser.add_argument("--validation-images", type=int, metavar="N", help="likewise")
    parser.add_argument("--epochs", type=int, metavar="N", help="likewise")
    parser.add_argument("--batch-size", type=int, metavar="N", help="likewise")
    parser.add_argument("--learning-rate", type=float, metavar="RATE", help="likewise")


def run(options: argparse.Namespace) -> int:
    """Do what is missing, print the tables, write the numbers and pictures, and return 0."""
    from captum_xg._core.options import usable_device
    from captum_xg.datasets.fashion_mnist import load_fashion_mnist
    from captum_xg.repro.decoy.protocol import SELECTION_SEED, WEIGHTS, split
    from captum_xg.repro.decoy.store import Store

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
    device = usable_device(options.device, "--device", only=("cpu", "cuda"))
    train, test = (
        tuple(tensor.to(device) for tensor in load_fashion_mnist(options.data, train=part)) for part in (True, False)
    )
    images = split(train, test, settings)  # type: ignore[arg-type]
    known = {**asdict(settings), "device": device.type, "data": images.fingerprint()}
    store = Store(options.output, known)
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

    from captum_xg.repro.decoy.protocol import METHODS, SELECTION_SEED, decoys
    from captum_xg.repro.decoy.results import Outcome, choose
    from captum_xg.repro.decoy.timing import seconds_per_step

    priors = [method for method in METHODS if method.attribution]
    trainings = len(priors) * len(weights) * selection + len(METHODS) * seeds
    print(
        f"{trainings} trainings of {settings.steps:,} steps, {trainings * settings.steps:,} steps in all.", flush=True
    )
    grids: dict[Method, dict[float, list[Run]]] = {method: {} for method in METHODS}
    reported: dict[Method, list[Run]] = {method: [] for method in METHODS}
    with tqdm(total=trainings * settings.steps, unit="step", unit_scale=True, dynamic_ncols=True) as bar:
        for seed in range(SELECTION_SEED, SELECTION_SEED + selection):
            data = decoys(images, seed)
            for method in priors:
                for weight in weights:
                    bar.set_description(f"choosing λ: {method.label}, {weight:g}")
                    done = _run(method, weight, seed, images, data, settings, store, bar.update)
                    grids[method].setdefault(weight, []).append(done)
        chosen = {m: choose(grids[m], lambda run: run.validation) if m.attribution else 0.0 for m in METHODS}
        for seed in range(seeds):
            data = decoys(images, seed)
            for method in METHODS:
                bar.set_description(f"seed {seed}: {method.label}")
                reported[method].append(_run(method, chosen[method], seed, images, data, settings, store, bar.update))
    timed = [method for method in METHODS if not method.clean]
    with tqdm(desc="timing steps", unit="round", leave=False) as bar:
        seconds = seconds_per_step(timed, chosen, decoys(images, 0).train, settings, bar.update)
    return {
        method: Outcome(
            method,
            chosen[method],
            tuple(reported[method]),
            grids[method],
            seconds[_timed_as(method)],
        )
        for method in METHODS
    }


def _timed_as(method: Method) -> Method:
    from captum_xg.repro.decoy.protocol import without_prior

    return without_prior(method) if method.clean else method  # a plain step, whatever is on the images


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
    scores = None if model is None else evaluate(model, method, images, data)
    done = Run(method.key, weight, seed, scores)
    store.add(method, done, None if model is None or seed >= SELECTION_SEED else model.state_dict())
    return done


def _report(
    outcomes: dict[Method, Outcome], images: Split, settings: Settings, store: Store, folder: Path, device: torch.device
) -> None:
    import torch

    from captum_xg.repro.decoy import report
    from captum_xg.repro.decoy.figure import draw_accuracies, draw_examples
    from captum_xg.repro.decoy.protocol import Labelled, decoys
    from captum_xg.repro.decoy.training import network

    accuracies, choice = report.accuracy_table(outcomes), report.choice_table(outcomes)
    notes = report.notes(outcomes)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    seeds = len(outcomes[next(iter(outcomes))].runs)
    about = (
        f"Decoy Fashion-MNIST, {settings.train_images:,} training images, {seeds} seeds, {settings.steps:,} steps of "
        f"{settings.batch_size} images; {name}."
    )
    print("\n" + "\n\n".join([about, report.as_text(accuracies), *notes, report.EXPLANATION]))
    print("\n" + "\n\n".join([report.as_text(choice), report.CHOICE]))
    parts = [
        about,
        report.as_markdown(accuracies),
        *notes,
        report.EXPLANATION,
        report.as_markdown(choice),
        report.CHOICE,
    ]
    write_text(folder / "decoy.md", "\n\n".join(parts).replace("(marked *)", r"(marked \*)") + "\n")
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
