"""captum-xg repro truth: networks whose true attribution is known by construction, and how near methods come to it.

Hand-set and random piecewise linear networks in double precision: no data, no trained weights. A unit is one network of
each seed with all methods.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from captum_xg.errors import OptionError
from captum_xg.repro.running import running

if TYPE_CHECKING:
    from captum_xg.repro.section import Section

PICTURE = "truth.png"
_SEEDS = {"quick": 3, "full": 20}
_INPUTS = {"quick": 16, "full": 64}
VERSION = 1
"""Of networks, truths and methods: results of others are refused."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    add = parser.add_argument
    presets = "quick: 3 networks of each kind and 16 inputs; full: 20 and 64 (default: %(default)s)"
    add("--preset", choices=("quick", "full"), default="quick", help=presets)
    add("--images", type=int, metavar="N", help="another number of inputs for each network than that of the preset")
    add("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    for name in ("--models", "--weights", "--data"):
        add(name, metavar="IGNORED", help="other experiments have this option; here networks and inputs are made")
    output = "where results go; what is there already is not done again (default: %(default)s)"
    add("--output", type=Path, default=Path("captum-xg-truth"), metavar="DIR", help=output)


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, write the picture, and return what there is to say in a report."""
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg._core.options import usable_device
    from captum_xg.repro.processes import of_this_process, wait_for_all
    from captum_xg.repro.truth.figure import draw
    from captum_xg.repro.truth.measure import KINDS, measured
    from captum_xg.repro.truth.report import report
    from captum_xg.repro.truth.results import Results
    from captum_xg.repro.units import done, effort

    seeds = _SEEDS[options.preset]
    count = _INPUTS[options.preset] if options.images is None else options.images
    if count < 2:
        raise OptionError(f"--images {count}: there must be at least 2 for an interval.")
    device = usable_device(of_this_process(options.device), "--device", only=("cpu", "cuda"))
    units = {
        f"{kind.key}, seed {seed}": partial(measured, kind, seed, count, device)
        for seed in range(seeds)
        for kind in KINDS
    }
    settings = {"seeds": seeds, "inputs": count, "device": device.type, "version": VERSION}
    found = done(options.output / "units", settings, units, "truth")
    results = Results.of({name: unit.value for name, unit in found.items()})
    if rank_and_processes()[0] == 0:
        draw(options.output / PICTURE, results)
    wait_for_all()
    setting = (
        f"{len(KINDS)} kinds of piecewise linear networks, {seeds} of each with {count} inputs, {len(units) * count} "
        "inputs in all; double precision; attributions of one output against zero."
    )
    command = f"captum-xg repro truth --preset {options.preset}"
    command += f" --images {options.images}" if options.images is not None else ""
    command += f" --device {options.device}" if options.device != "cpu" else ""
    return report(results, setting, command, PICTURE, *effort(found))


run = running(section)
