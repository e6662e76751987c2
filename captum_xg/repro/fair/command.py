"""captum-xg repro fair: Figure 1 of the paper under other choices; which of its statements depend on them?"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from captum_xg.errors import OptionError
from captum_xg.repro.experiment import add_common_arguments
from captum_xg.repro.running import running

if TYPE_CHECKING:
    from captum_xg.repro.fair.measure import Bench
    from captum_xg.repro.fair.trainings import Trainings
    from captum_xg.repro.fair.variants import Variant
    from captum_xg.repro.section import Section
    from captum_xg.repro.units import Unit

FIGURE = "fair.png"


class Preset(NamedTuple):
    """What a preset asks for."""

    repetitions: int
    references: tuple[int, ...]
    grid: tuple[float, ...]
    epochs: tuple[int, ...]
    hidden: tuple[int, ...]
    about: str
    few: bool = False


EPOCHS = 100
"""Those of the paper: each preset has them among its numbers of epochs."""
PRESETS = {
    "quick": Preset(
        20,
        (1, 4),
        (0.01, 0.1, 1.0),
        (50, EPOCHS),
        (64, 32),
        "20 repetitions, 3 λ, up to 4 references, small networks",
        few=True,
    ),
    "full": Preset(
        200,
        (1, 2, 4, 8, 16, 32, 64),
        (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0),
        (25, 50, EPOCHS),
        (512, 128, 32),
        "200 repetitions, 7 λ, up to 64 references, the paper's networks; for a GPU",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    data = (
        "a folder with NHANESI_subset_X.csv and NHANESI_subset_y.csv; the paper's data, a folder with X_sparsity.csv "
        "and y_sparsity.npy; or a CSV file whose last column is the label (default: NHEFS from the package causaldata)"
    )
    presets = {name: preset.about for name, preset in PRESETS.items()}
    add_common_arguments(parser, "fair", presets=presets, data=data, data_metavar="PATH")
    add = parser.add_argument
    add("--repetitions", type=int, metavar="N", help="another number than that of the preset")
    add(
        "--references",
        type=_counts,
        metavar="K,K,…",
        help="other numbers of references of Expected Gradients than those of the preset; 1 must be among them",
    )
    add("--seed", type=int, default=0, help="of the first repetition (default: %(default)s)")


def section(options: argparse.Namespace) -> Section:
    """Train what is missing, draw the picture, and return what came out."""
    from captum_xg._core.files import require_writable
    from captum_xg.repro.fair.variants import variants
    from captum_xg.repro.processes import of_this_process
    from captum_xg.repro.units import done, effort

    preset = PRESETS[options.preset]
    repetitions = preset.repetitions if options.repetitions is None else options.repetitions
    references = sorted(set(options.references or preset.references))
    if repetitions < 2 or options.seed < 0 or references[0] != 1 or len(references) < 2:
        raise OptionError(
            "There must be at least 2 --repetitions for an interval, a --seed ≥ 0, and 1 and a larger number among the "
            f"--references, but these are {repetitions}, {options.seed} and {', '.join(map(str, references))}."
        )
    bench = _bench(preset, options, repetitions, of_this_process(options.device))
    require_writable(options.output / FIGURE)
    trained = variants(references, few=preset.few)
    units = _units(bench, trained, repetitions)
    found = done(options.output / "units", _settings(bench, options.seed), units, "fair")
    trainings = _trainings(found, trained, repetitions)
    return _section(trainings, bench, options, repetitions, effort(found))


def _bench(preset: Preset, options: argparse.Namespace, repetitions: int, device: str) -> Bench:
    from captum_xg._core.options import usable_device
    from captum_xg.datasets.nhanes import load_mortality
    from captum_xg.repro.fair.measure import Bench
    from captum_xg.repro.sparsity.protocol import Experiment, split

    where = usable_device(device, "--device", only=("cpu", "cuda"))
    data = load_mortality(options.data)
    splits = [split(data, options.seed + i) for i in range(repetitions)]
    # A bench trains for several numbers of epochs: those of the experiment are the most.
    experiment = Experiment(data, splits, options.seed, max(preset.epochs), where, preset.hidden)
    return Bench(experiment, preset.grid, preset.epochs)


def _settings(bench: Bench, seed: int) -> dict[str, object]:
    """Return what the numbers depend on; repetitions and references are in the names of units."""
    return {
        "data": bench.experiment.table.fingerprint(),
        "seed": seed,
        "hidden": bench.experiment.hidden,
        "grid": bench.grid,
        "epochs": bench.epochs,
    }


def _ranges(n_references: int, repetitions: int) -> list[range]:
    """Return the repetitions in groups that take seconds, each a unit."""
    size = 50 if n_references < 8 else 20 if n_references < 32 else 10
    return [range(start, min(start + size, repetitions)) for start in range(0, repetitions, size)]


def _units(bench: Bench, trained: list[Variant], repetitions: int) -> dict[str, partial[dict[str, object]]]:
    """Return all units; those of the first repetitions of everything come first."""
    parts = [(part, v) for v in trained for part in _ranges(v.n_references, repetitions)]
    parts.sort(key=lambda each: each[0].stop)
    return {_unit(v.name, part): partial(bench.measure, v, part) for part, v in parts}


def _unit(name: str, part: range) -> str:
    return f"{name}, {part.start}-{part.stop - 1}"


def _trainings(found: dict[str, Unit], trained: list[Variant], repetitions: int) -> Trainings:
    from captum_xg.repro.fair.trainings import Trainings

    scores = {}
    for variant in trained:
        parts = [found[_unit(variant.name, part)].value for part in _ranges(variant.n_references, repetitions)]
        scores[variant] = {
            float(strength): {
                epochs: {when: [pair for part in parts for pair in part[strength][epochs][when]] for when in by_when}
                for epochs, by_when in by_epochs.items()
            }
            for strength, by_epochs in parts[0].items()
        }
    return Trainings(scores)


def _section(
    trainings: Trainings,
    bench: Bench,
    options: argparse.Namespace,
    repetitions: int,
    spent: tuple[float, tuple[str, ...]],
) -> Section:
    from captum_xg.repro.fair import report
    from captum_xg.repro.fair.choices import choices
    from captum_xg.repro.fair.figure import draw
    from captum_xg.repro.section import Panel, Section

    data = bench.experiment.table
    chosen = choices(bench.grid, bench.epochs, EPOCHS)
    cells = report.all_cells(trainings, chosen)
    name = data.source.split(":")[0].split(" (")[0]
    draw(options.output / FIGURE, report.those_run(cells), chosen, cells, f"{name}: paired differences, 95 % intervals")
    picture = Panel(
        "Every statement under every choice: green holds, red fails, grey is undecided",
        picture=FIGURE,
        description="For each statement a panel with the paired difference and its interval under each choice.",
    )
    widths = "-".join(map(str, bench.experiment.hidden))
    return Section(
        "fair",
        "Figure 1 under other choices than the paper's",
        f"{data.source}; {data.features.shape[0]} people, {data.features.shape[1]} columns; {repetitions} splits with "
        f"100 training and 100 validation examples; networks {widths}; λ from "
        f"{', '.join(f'{s:g}' for s in bench.grid)}.",
        findings=report.findings(cells, chosen),
        panels=(
            report.choice_table(cells, chosen),
            picture,
            *(report.parts_table(trainings, each) for each in chosen[-2:]),
            report.variant_table(trainings, chosen[-1].how),
        ),
        notes=(*report.notes(trainings, repetitions), *data.notes),
        command=_command(options),
        seconds=spent[0],
        commits=spent[1],
        numbers={
            "outcomes": {
                f"{key} | {name}": {"outcome": cell.outcome, **({} if cell.found is None else cell.found.to_dict())}
                for (key, name), cell in cells.items()
            }
        },
    )


def _command(options: argparse.Namespace) -> str:
    parts = ["captum-xg repro fair", f"--preset {options.preset}"]
    parts += [f"--data {options.data}"] if options.data else []
    parts += [f"--repetitions {options.repetitions}"] if options.repetitions else []
    parts += [f"--references {','.join(map(str, options.references))}"] if options.references else []
    parts += [f"--seed {options.seed}"] if options.seed else []
    return " ".join(parts)


def _counts(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1,4,16") from None
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"numbers of references must be at least 1 but are {text}")
    return found


run = running(section)
