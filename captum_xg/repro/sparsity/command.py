"""captum-xg repro sparsity: Figure 1 of the paper. Does a sparsity prior help a network that has seen 100 people?

The prior is minus the Gini coefficient of the batch-mean absolute attribution; the question is on which attribution it
helps most (left panel), and how many references Expected Gradients needs to be as good as X-Gradient (right panel).
Source: Hesse et al. 2021, Section 4.3 and Appendix B.3, after Erion et al. 2021.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from captum_xg._core.files import require_writable, write_json
from captum_xg.errors import OptionError
from captum_xg.repro.experiment import add_common_arguments
from captum_xg.repro.sparsity import documents

if TYPE_CHECKING:
    from tqdm import tqdm

    from captum_xg.repro.section import Section
    from captum_xg.repro.sparsity.protocol import Experiment, Method, Result
    from captum_xg.repro.sparsity.results import Outcome
    from captum_xg.repro.sparsity.store import Store

REPETITIONS = {"quick": 20, "full": 200}
REFERENCES = {"quick": (2, 4, 8, 16), "full": (2, 4, 8, 16, 32, 64, 128)}  # beside 1, which the left panel has
EPOCHS = 100
FILES = ("sparsity.json", "sparsity.png")
_FILES = dict(zip(("Numbers", "Figure"), FILES, strict=True))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {
        "quick": "20 repetitions, up to 16 references, some minutes",
        "full": "200 repetitions, up to 128 references; the left panel takes about an hour on two cores, the right one "
        "a night",
    }
    data = (
        "a folder with NHANESI_subset_X.csv and NHANESI_subset_y.csv; the paper's data, a folder with X_sparsity.csv "
        "and y_sparsity.npy; or a CSV file whose last column is the label (default: NHEFS from the package causaldata)"
    )
    add_common_arguments(parser, "sparsity", presets=presets, data=data, data_metavar="PATH")
    add = parser.add_argument
    add("--panel", choices=("left", "right", "both"), default="left", help="of Figure 1 (default: %(default)s)")
    add("--repetitions", type=int, metavar="N", help="another number than that of the preset")
    add("--seed", type=int, default=0, help="of the first repetition (default: %(default)s)")
    add("--epochs", type=int, default=EPOCHS, help=argparse.SUPPRESS)


@dataclass(frozen=True)
class Study:
    """What was done: the experiment, and the outcomes of both panels."""

    experiment: Experiment
    left: list[Outcome]
    right: list[Outcome]


def run(options: argparse.Namespace) -> int:
    """Do what is missing, print the tables, write the numbers and the figure, and return 0."""
    from captum_xg.repro.processes import shared_among_processes, wait_for_all

    with shared_among_processes() as first:
        if first:
            study = _study(options)
            print(documents.text(study.experiment, study.left, study.right))
            _write(study, options)
            print("\n" + "\n".join(f"{what}: {(options.output / name).resolve()}" for what, name in _FILES.items()))
        wait_for_all()
    return 0


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, write the numbers and the figure, and return what came out.

    Under ``torchrun`` the first process does all of it, as the networks of a repetition are in one stack.
    """
    from captum_xg.repro.processes import by_the_first

    def work() -> Section:
        study = _study(options)
        _write(study, options)
        return _section(study, options)

    return by_the_first(work)


def _study(options: argparse.Namespace) -> Study:
    from captum_xg._core.options import usable_device
    from captum_xg.datasets.nhanes import load_mortality
    from captum_xg.repro.sparsity.protocol import Experiment, split
    from captum_xg.repro.sparsity.store import Store

    repetitions = REPETITIONS[options.preset] if options.repetitions is None else options.repetitions
    if repetitions < 2 or options.epochs < 1 or options.seed < 0:
        raise OptionError(
            "There must be at least 2 repetitions for an uncertainty, 1 epoch, and a seed ≥ 0, but these are "
            f"{repetitions}, {options.epochs} and {options.seed}."
        )
    device = usable_device(options.device, "--device", only=("cpu", "cuda"))
    data = load_mortality(options.data)
    print(data, flush=True)
    settings = {"data": data.fingerprint(), "seed": options.seed, "epochs": options.epochs}
    store = Store(options.output / "runs", settings)
    for file in FILES:
        require_writable(options.output / file)
    splits = [split(data, options.seed + i) for i in range(repetitions)]
    experiment = Experiment(data, splits, options.seed, options.epochs, device)
    return Study(experiment, *_panels(experiment, store, options.panel, REFERENCES[options.preset]))


def _panels(
    experiment: Experiment, store: Store, panel: str, references: Sequence[int]
) -> tuple[list[Outcome], list[Outcome]]:
    """Return the outcomes of the left panel, and of Expected Gradients by number of references."""
    from tqdm import tqdm

    from captum_xg.repro.sparsity import protocol
    from captum_xg.repro.sparsity.results import Outcome, chosen

    # The right panel takes λ of Expected Gradients with one reference, and compares with X-Gradient.
    alone = (protocol.UNREGULARISED_WITHOUT_BIAS, protocol.EXPECTED_GRADIENTS, protocol.X_GRADIENT)
    methods = alone if panel == "right" else protocol.LEFT_PANEL
    several = [] if panel == "left" else [protocol.expected_gradients_with(k) for k in references]
    networks = sum(m.cost * len(m.strengths) for m in methods) + sum(m.cost for m in several)
    # Steps are counted by what they cost, a pass through one network being one.
    total = networks * len(experiment.splits) * experiment.epochs
    with tqdm(total=total, unit="pass", unit_scale=True, dynamic_ncols=True) as bar:
        left = []
        for method in methods:
            runs = {strength: _results(experiment, store, method, strength, bar) for strength in method.strengths}
            left.append(chosen(method, runs))
        right = [each for each in left if several and each.method == protocol.EXPECTED_GRADIENTS]
        for method in several:
            strength = right[0].strength
            runs = {strength: _results(experiment, store, method, strength, bar)}
            right.append(Outcome(method, strength, runs, "that of one reference"))
    return left, right


def _results(experiment: Experiment, store: Store, method: Method, strength: float, bar: tqdm[None]) -> list[Result]:
    """Return the results of all repetitions, of which those that are not in the store are done and put there."""
    there = store.results(method, strength)
    wanted = range(len(experiment.splits))
    missing = [i for i in wanted if i not in there]
    bar.set_description(f"{method.label}, λ = {strength:g}" if strength else method.label)
    bar.update((len(wanted) - len(missing)) * experiment.epochs * method.cost)
    size = experiment.chunk(method)
    for start in range(0, len(missing), size):
        some = missing[start : start + size]
        found = experiment.run(method, strength, some, partial(bar.update, len(some) * method.cost))
        results = dict(zip(some, found, strict=True))
        store.add(method, strength, results)
        there |= results  # another process may have written over those in the store
    return [there[i] for i in wanted]


def _write(study: Study, options: argparse.Namespace) -> None:
    """Write all numbers and the figure."""
    from captum_xg.repro.sparsity.figure import draw
    from captum_xg.repro.sparsity.protocol import LEFT_PANEL

    left, data = study.left, study.experiment.table
    numbers, figure = (options.output / name for name in FILES)
    write_json(numbers, documents.content(study.experiment, left, study.right))
    xgradient = documents.xgradient_of(left)
    whole = len(left) == len(LEFT_PANEL)
    title = f"{documents.name(data)}; {len(study.experiment.splits)} repetitions of 100 training examples"
    draw(figure, left if whole else [], study.right, xgradient, title=title, paper=data.is_the_papers)


def _section(study: Study, options: argparse.Namespace) -> Section:
    from captum_xg.repro.section import Panel, Section
    from captum_xg.repro.sparsity.verdict import findings

    experiment, left, right = study.experiment, study.left, study.right
    data = experiment.table
    picture = Panel(
        "Test ROC-AUC by the attribution that the prior is on, with 95 % intervals",
        picture=FILES[1],
        description="Mean test ROC-AUC of each method, and of Expected Gradients over the number of references.",
    )
    parts = [f"--panel {options.panel}", *([f"--data {options.data}"] if options.data else [])]
    seconds = sum(run.seconds for each in (*left, *right) for runs in each.runs.values() for run in runs)
    return Section(
        "figure1",
        "Figure 1: a sparsity prior on few training examples",
        f"{data.source}; {data.features.shape[0]} people, {data.features.shape[1]} columns; {len(experiment.splits)} "
        f"splits with 100 training and 100 validation examples, {experiment.epochs} epochs, the paper's networks.",
        findings=findings(left, right, papers=data.is_the_papers),
        panels=(*documents.panels(left, right), picture),
        notes=data.notes,
        command=" ".join(["captum-xg repro figure1", f"--preset {options.preset}", *parts]),
        seconds=seconds,
        commits=(),
        numbers=documents.content(experiment, left, right),
    )
