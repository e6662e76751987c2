"""captum-xg repro patches: is a transformer of degree 1 as good as a regular one, and what are its parts worth?

``xvit_small`` and ``vit_small`` are trained alike on Fashion-MNIST in 4×4 patches. Then: how many steps Integrated
Gradients needs on the one, where X-Gradient is exact on the other; variants with one part changed; costs. Trained
weights are left in the folder ``weights`` of the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg.errors import OptionError
from captum_xg.repro.running import running
from captum_xg.repro.section import Section

if TYPE_CHECKING:
    from captum_xg.repro.patches.protocol import Data, Protocol
    from captum_xg.repro.units import Unit

_PRESETS = {
    "quick": "2 epochs on 256 images, 2 seeds, which goes through all parts in a minute and trains nothing well",
    "full": "20 epochs on 55,000 images, 3 seeds, minutes on a GPU; needs --data fashion-mnist:ROOT",
}
_COUNTS = {
    "epochs": "of the two networks",
    "ablation_epochs": "of the variants",
    "batch_size": "images in a training step",
    "train_images": "to train on",
    "validation_images": "held out",
    "test_images": "to report on",
    "measured_images": "of the test images, to attribute",
    "reference_steps": "of the integral that steps are compared with",
    "most_steps": "the largest number of steps that is tried",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    add = parser.add_argument
    about = " ".join(f"{name}: {text}." for name, text in _PRESETS.items())
    add("--preset", choices=tuple(_PRESETS), default="quick", help=f"{about} (default: %(default)s)")
    data = "shipped: 500 images; fashion-mnist:ROOT, all 70,000 (default: %(default)s)"
    add("--data", default="shipped", metavar="DATA", help=data)
    add("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    output = "where results go; what is there already is not done again (default: %(default)s)"
    add("--output", type=Path, default=Path("captum-xg-patches"), metavar="DIR", help=output)
    only = (
        "do only these units, such as xvit_small-0 or 'vit_small-*', and report nothing: for processes that share the "
        "work. A last call without it does what is left, and reports"
    )
    add("--only", nargs="+", metavar="UNIT", help=only)
    add("--seeds", type=int, metavar="N", help="trainings of each network; default as of the preset")
    add("--precision", choices=("float32", "bfloat16"), default="float32", help="of training (default: %(default)s)")
    rate = "peak of the one-cycle schedule (default: 0.003)"
    add("--learning-rate", type=float, metavar="RATE", help=rate)
    for name, text in _COUNTS.items():
        add(f"--{name.replace('_', '-')}", type=int, metavar="N", help=f"{text}; default as of the preset")


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, write the picture, and return what there is to say in a report."""
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg.repro.patches.figure import draw
    from captum_xg.repro.patches.report import PICTURE, report
    from captum_xg.repro.patches.results import Results
    from captum_xg.repro.processes import wait_for_all
    from captum_xg.repro.units import effort

    protocol, data, found = _work(options)
    results = Results({name: unit.value for name, unit in found.items()}, _seeds(options))
    if rank_and_processes()[0] == 0 and not results.comparison_lost:
        draw(options.output / PICTURE, results)
    wait_for_all()
    seconds, commits = effort(found)
    return report(results, protocol, data, _command(options), seconds, commits)


def run(options: argparse.Namespace) -> int:
    """Do what is missing, print the section, write it beside its numbers, and return 0; with --only report nothing."""
    if not options.only:
        return running(section)(options)
    from captum_xg.repro.processes import shared_among_processes

    with shared_among_processes():
        _, _, found = _work(options)
    for name, unit in found.items():
        print(f"{name}: done, {unit.seconds:.1f} s")
    return 0


def _work(options: argparse.Namespace) -> tuple[Protocol, Data, dict[str, Unit]]:
    """Return what is trained on what, and the units that were asked for, done."""
    from captum_xg._core.options import usable_device
    from captum_xg.repro.patches.protocol import load
    from captum_xg.repro.patches.work import units
    from captum_xg.repro.processes import of_this_process
    from captum_xg.repro.units import done

    protocol, seeds = _protocol(options), _seeds(options)
    device = usable_device(of_this_process(options.device), "--device", only=("cpu", "cuda"))
    data = load(options.data, protocol, device)
    settings = {**asdict(protocol), "device": device.type, "data": data.fingerprint()}
    everything = units(protocol, data, seeds, options.output / "weights")
    return protocol, data, done(options.output / "units", settings, _chosen(everything, options.only), "patches")


def _chosen(
    everything: Mapping[str, Callable[[], Mapping[str, Any]]], patterns: list[str] | None
) -> dict[str, Callable[[], Mapping[str, Any]]]:
    """Return the units that patterns name.

    Raises:
        OptionError: If one names none.
    """
    if not patterns:
        return dict(everything)
    if lost := [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in everything)]:
        raise OptionError(f"--only {' '.join(lost)}: there is no such unit. There are {', '.join(everything)}.")
    return {name: do for name, do in everything.items() if any(fnmatchcase(name, each) for each in patterns)}


def _seeds(options: argparse.Namespace) -> int:
    from captum_xg.repro.patches.protocol import SEEDS

    seeds: int = SEEDS[options.preset] if options.seeds is None else options.seeds
    if seeds < 2:
        raise OptionError(f"--seeds {seeds}: there must be at least 2 for an interval.")
    return seeds


def _protocol(options: argparse.Namespace) -> Protocol:
    from captum_xg.repro.patches.protocol import PRESETS

    if options.preset == "full" and options.data == "shipped":
        raise OptionError("--preset full: the 500 shipped images are too few. Give --data fashion-mnist:ROOT.")
    names = (*_COUNTS, "learning_rate")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if wrong := [
        f"--{name.replace('_', '-')} {value}" for name, value in given.items() if not 0 < value < float("inf")
    ]:
        raise OptionError(f"{', '.join(wrong)}: must be above 0.")
    protocol = replace(PRESETS[options.preset], precision=options.precision, **given)
    if protocol.measured_images > protocol.test_images or protocol.reference_steps <= protocol.most_steps:
        raise OptionError(
            f"--measured-images {protocol.measured_images}, --test-images {protocol.test_images}, --most-steps "
            f"{protocol.most_steps}, --reference-steps {protocol.reference_steps}: measured images are test images, "
            "and the integral needs more steps than any number that is compared with it."
        )
    return protocol


def _command(options: argparse.Namespace) -> str:
    kind, _, root = options.data.partition(":")
    parts = [f"captum-xg repro patches --preset {options.preset} --data {kind}{':ROOT' if root else ''}"]
    if options.device != "cpu":
        parts.append(f"--device {options.device}")
    if options.precision != "float32":
        parts.append(f"--precision {options.precision}")
    for name in ("seeds", "learning_rate", *_COUNTS):
        if getattr(options, name) is not None:
            parts.append(f"--{name.replace('_', '-')} {getattr(options, name):g}")
    return " ".join(parts)
