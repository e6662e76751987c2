"""captum-xg repro scan: find what a network relies on by explaining all its data, cure it by a prior, and look again.

Fashion-MNIST, some images with a 4×4 patch in a random corner whose grey value gives the label away. Nobody says where
it is: a network is trained, all its training images are explained, their attributions clustered, and regions searched
that stand out; a right-for-the-right-reasons prior on these, training again, explaining again. Sources: Ross, Hughes
and Doshi-Velez 2017 for the patch and the prior; Lapuschkin et al. 2019 for clusters of attributions.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from captum_xg.errors import OptionError
from captum_xg.repro.experiment import add_common_arguments
from captum_xg.repro.running import running

if TYPE_CHECKING:
    from captum_xg.repro.section import Section

SHIPPED = "shipped"
"""The value of ``--data`` for the images of the package."""
IMAGES = {"quick": 4_000, "full": 10_000}
SEEDS = {"quick": 3, "full": 5, SHIPPED: 5}
OF_SHIPPED = ((1.0, 0.0), 40, 50)
"""Shares of images with the patch, epochs and batch size for them: of 40 images in a class, 30 % are 3 in a corner."""
VERSION = 1
"""Of networks, analysis and measures: results of others are refused."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {
        "quick": "4,000 images and 3 seeds; of the shipped images all 400 and 5 seeds",
        "full": "10,000 images and 5 seeds, minutes; units are shared out by torchrun",
    }
    data = (
        "fashion-mnist:ROOT, or ROOT, where Fashion-MNIST lies, or is downloaded to if it is missing; shipped: 500 "
        "images, 400 of which train: too few for a patch that few of them carry (default: %(default)s)"
    )
    action = add_common_arguments(parser, "scan", presets=presets, data=data, data_metavar="DATA")
    action.type, action.default = str, SHIPPED
    add = parser.add_argument
    add("--images", type=int, metavar="N", help="another number of images to train on and to explain")
    add("--seeds", type=int, metavar="N", help="another number of networks for each share of images with the patch")
    add("--weight", type=float, default=100.0, metavar="λ", help="of the prior (default: %(default)g)")


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, write the pictures, and return what there is to say in a report."""
    from dataclasses import asdict

    from captum_xg._core.distributed import rank_and_processes
    from captum_xg._core.options import usable_device
    from captum_xg.repro.processes import of_this_process, wait_for_all
    from captum_xg.repro.scan.claims import SHARES, percent
    from captum_xg.repro.scan.data import SHIPPED_TRAIN, fingerprint, images_of
    from captum_xg.repro.scan.figure import draw
    from captum_xg.repro.scan.measure import Settings, measured
    from captum_xg.repro.scan.report import report
    from captum_xg.repro.scan.results import Results
    from captum_xg.repro.units import done, effort

    usual = SHIPPED_TRAIN if options.data == SHIPPED else IMAGES[options.preset]
    n = usual if options.images is None else options.images
    seeds = SEEDS[SHIPPED if options.data == SHIPPED else options.preset] if options.seeds is None else options.seeds
    if seeds < 2 or n < 100 or not 0 < options.weight < float("inf"):
        raise OptionError(
            "There must be at least 2 --seeds for an interval and 100 --images, and --weight must be above 0 and "
            f"finite, but these are {seeds}, {n} and {options.weight}."
        )
    device = usable_device(of_this_process(options.device), "--device", only=("cpu", "cuda"))
    shares, epochs, batch_size = OF_SHIPPED if options.data == SHIPPED else (SHARES, 10, 100)
    images, settings = images_of(options.data, n, SHIPPED), Settings(n, epochs, batch_size, options.weight)
    units = {
        f"{percent(share)}, seed {seed}": partial(measured, share, seed, images, settings, device)
        for seed in range(seeds)
        for share in shares
    }
    depends = {**asdict(settings), "data": fingerprint(images), "device": device.type, "version": VERSION}
    found = done(options.output / "units", depends, units, "scan")
    results = Results({name: unit.value for name, unit in found.items()}, seeds)
    pictures = draw(options.output, results) if rank_and_processes()[0] == 0 else ()
    wait_for_all()
    return report(results, _setting(options, n, seeds), _command(options), pictures, *effort(found))


def _setting(options: argparse.Namespace, n: int, seeds: int) -> str:
    where = "shipped" if options.data == SHIPPED else "training"
    return (
        f"Fashion-MNIST, {n:,} {where} images trained on and explained; {seeds} networks 784-50-30-10 without biases "
        f"for each share of images with the patch; λ = {options.weight:g}; float32."
    )


def _command(options: argparse.Namespace) -> str:
    command = f"captum-xg repro scan --preset {options.preset}"
    if options.data != SHIPPED:
        command += " --data fashion-mnist:ROOT"
    for name, usual in (("images", None), ("seeds", None), ("weight", 100.0), ("device", "cpu")):
        value = getattr(options, name)
        command += "" if value == usual else f" --{name} {value}"
    return command


run = running(section)
