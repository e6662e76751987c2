"""captum-xg repro restoration: denoisers without biases, at noise they were not trained on, and their filters.

Two architectures with and without biases learn to remove noise of up to 25 grey levels from photographs, and are
measured at up to 100. Without biases a denoiser scales with its input; its pixels are weighted sums of those around,
with weights that one gradient gives. Source: Mohan et al. 2020, Robust and Interpretable Blind Image Denoising via
Bias-Free Convolutional Neural Networks (ICLR).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg.repro.running import running

if TYPE_CHECKING:
    from captum_xg.repro.restoration.protocol import Protocol
    from captum_xg.repro.section import Section

NAME = "restoration"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    add = parser.add_argument
    presets = (
        "quick: the shipped DnCNN and its twin, on six small squares of photographs; full: DnCNN and U-Net with and "
        "without biases, three trainings each, hours on a CPU (default: %(default)s)"
    )
    add("--preset", choices=("quick", "full"), default="quick", help=presets)
    add("--seeds", type=int, metavar="N", help="another number of trainings of each network")
    steps = "another number of steps of a training; with the preset quick, train so many instead of the shipped weights"
    add("--steps", type=int, metavar="N", help=steps)
    assets = "also write the first DnCNN and its twin to this folder, as the package ships them"
    add("--assets", type=Path, metavar="DIR", help=assets)
    add("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    output = "where results go; what is there already is not done again (default: %(default)s)"
    add("--output", type=Path, default=Path(f"captum-xg-{NAME}"), metavar="DIR", help=output)


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, write numbers and pictures, and return what there is to say in a report."""
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg._core.files import make_folder
    from captum_xg._core.options import usable_device
    from captum_xg.repro.processes import of_this_process, wait_for_all
    from captum_xg.repro.restoration.figure import draw
    from captum_xg.repro.restoration.report import report
    from captum_xg.repro.restoration.work import families, networks, write_assets

    protocol = _protocol(options)
    device = usable_device(of_this_process(options.device), "--device", only=("cpu", "cuda"))
    folder = make_folder(options.output)
    units = networks(protocol, folder, device)
    found = families(units, protocol)
    if rank_and_processes()[0] == 0:
        draw(found, folder)
        if options.assets is not None:
            write_assets(make_folder(options.assets), found, protocol, folder)
    wait_for_all()
    return report(found, units, protocol, options.preset, _command(options))


run = running(section)


def _protocol(options: argparse.Namespace) -> Protocol:
    from dataclasses import replace

    from captum_xg.errors import OptionError
    from captum_xg.repro.restoration.protocol import PRESETS

    protocol = PRESETS[options.preset]
    steps = protocol.steps if options.steps is None else options.steps
    trained = options.steps is not None or bool(protocol.seeds)
    seeds = (len(protocol.seeds) or 1) if options.seeds is None else options.seeds
    if seeds < 1 or (trained and steps < 1):
        raise OptionError(f"--seeds and --steps must be at least 1 but are {seeds} and {steps}.")
    if not trained and options.seeds is not None:
        raise OptionError("--seeds: the preset quick trains nothing. Give --steps, or --preset full.")
    if not trained and options.assets is not None:
        raise OptionError("--assets: the preset quick trains nothing. Give --preset full.")
    return replace(protocol, steps=steps, seeds=tuple(range(seeds)) if trained else ())


def _command(options: argparse.Namespace) -> str:
    given: dict[str, Any] = {"--seeds": options.seeds, "--steps": options.steps}
    rest = "".join(f" {name} {value}" for name, value in given.items() if value is not None)
    device = "" if options.device == "cpu" else f" --device {options.device}"
    return f"captum-xg repro {NAME} --preset {options.preset}{rest}{device}"
