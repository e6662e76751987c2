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
from typing import TYPE_CHECKING

from captum_xg._core.files import require_writable
from captum_xg.errors import OptionError
from captum_xg.repro.experiment import add_common_arguments

if TYPE_CHECKING:
    import torch

    from captum_xg.repro.decoy.protocol import Decoys, Method, Settings, Split
    from captum_xg.repro.decoy.results import Outcome
    from captum_xg.repro.decoy.store import Run, Store
    from captum_xg.repro.decoy.study import Study
    from captum_xg.repro.section import Section


SHIPPED = "shipped"
"""The value of ``--data`` for the images of the package."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {"quick": "10,000 training images, minutes on one core", "full": "50,000"}
    data = (
        "fashion-mnist:ROOT, or ROOT, where Fashion-MNIST lies, or is downloaded to if it is missing; shipped: 500 "
        "images, 300 of which train (default: %(default)s)"
    )
    action = add_common_arguments(parser, "decoy", presets=presets, data=data, data_metavar="DATA")
    action.type, action.default = str, "shipped"
    add = parser.add_argument
    add("--seeds", type=int, metavar="N", help="trainings of each method to report (default: 5; shipped images: 3)")
    choosing = "other trainings, for each λ, that choose λ (default: %(default)s)"
    add("--selection-seeds", type=int, default=1, metavar="N", help=choosing)
    add(
        "--weights",
        type=float,
        nargs="+",
        metavar="λ",
        help="to choose from (default: 0.01 … 10000; shipped images: 1, 100, 10000)",
    )
    add("--train-images", type=int, metavar="N", help="another number than that of the preset")
    add("--validation-images", type=int, metavar="N", help="likewise")
    add("--epochs", type=int, metavar="N", help="likewise")
    add("--batch-size", type=int, metavar="N", help="likewise")
    add("--learning-rate", type=float, metavar="RATE", help="likewise")


def run(options: argparse.Namespace) -> int:
    """Do what is missing, print the tables, write the numbers and pictures, and return 0."""
    from captum_xg.repro.decoy.study import FILES
    from captum_xg.repro.processes import shared_among_processes, wait_for_all

    with shared_among_processes() as first:
        if first:
            print(f"\n{_study(options).text}")
            for file in FILES:
                print(f"{file}: {(options.output / file).resolve()}")
        wait_for_all()
    return 0


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, write the numbers and pictures, and return what came out.

    Under ``torchrun`` the first process does all of it, as seconds per step are only comparable in one.
    """
    from captum_xg.repro.decoy.verdict import as_section
    from captum_xg.repro.processes import by_the_first

    def work() -> Section:
        study = _study(options)
        return as_section(study.outcomes, study.about, study.content, f"{options.preset} --data {options.data}")

    return by_the_first(work)


def _study(options: argparse.Namespace) -> Study:
    from captum_xg._core.options import usable_device
    from captum_xg.repro.decoy.protocol import SELECTION_SEED, SHIPPED_WEIGHTS, WEIGHTS
    from captum_xg.repro.decoy.store import Store
    from captum_xg.repro.decoy.study import FILES, write_study
    from captum_xg.repro.estimate import t_quantile

    settings = _settings(options)
    default = SHIPPED_WEIGHTS if options.data == SHIPPED else WEIGHTS
    weights = tuple(sorted(set(options.weights or default)))
    selection, seeds = options.selection_seeds, options.seeds
    if seeds is None:
        seeds = 3 if options.data == SHIPPED and options.preset == "quick" else 5
    if seeds < 2 or selection < 1 or not all(0 < weight < float("inf") for weight in weights):
        raise OptionError(
            "There must be at least 2 --seeds for an interval and 1 of --selection-seeds, and --weights must be above "
            f"0 and finite, but these are {seeds}, {selection} and {weights}."
        )
    if seeds > SELECTION_SEED:
        raise OptionError(f"--seeds {seeds}: from {SELECTION_SEED} on they are those that choose λ.")
    t_quantile(seeds - 1)  # what intervals need must be there before the trainings, not found missing after
    device = usable_device(options.device, "--device", only=("cpu", "cuda"))
    images = _images(options.data, settings, device)
    store = Store(options.output, {**asdict(settings), "device": device.type, "data": images.fingerprint()})
    for file in FILES:
        require_writable(options.output / file)
    outcomes = _outcomes(images, settings, store, weights, selection, seeds)
    described = "the 500 shipped images" if options.data == SHIPPED else "the whole data set"
    return write_study(outcomes, images, settings, store, options.output, device, described)


def _images(data: str, settings: Settings, device: torch.device) -> Split:
    """Return the images of Fashion-MNIST under a root, or the shipped ones."""
    from captum_xg.datasets.fashion_mnist import load_fashion_mnist
    from captum_xg.repro.decoy.protocol import shipped_split, split

    if data == SHIPPED:
        return shipped_split(settings, device)
    root = data.removeprefix("fashion-mnist:")
    train, test = (
        tuple(tensor.to(device) for tensor in load_fashion_mnist(root, train=part)) for part in (True, False)
    )
    return split(train, test, settings)  # type: ignore[arg-type]


def _settings(options: argparse.Namespace) -> Settings:
    from captum_xg.repro.decoy.protocol import PRESETS, SHIPPED_PRESETS

    names = ("train_images", "validation_images", "epochs", "batch_size", "learning_rate")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    wrong = [f"--{name.replace('_', '-')} {value}" for name, value in given.items() if not 0 < value < float("inf")]
    if wrong:
        raise OptionError(f"{', '.join(wrong)}: must be above 0.")
    presets = SHIPPED_PRESETS if options.data == SHIPPED else PRESETS
    return replace(presets[options.preset], **given)


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
