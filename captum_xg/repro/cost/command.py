"""captum-xg repro cost: seconds, memory and arithmetic of a training step with an attribution prior (Appendix B.3).

Fixup-ResNets with random weights on random images: what a step costs does not depend on what they show. A unit is the
timing of all ways at one batch size, or the memory or the arithmetic of one way.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_xg.errors import OptionError
from captum_xg.repro.running import running

if TYPE_CHECKING:
    from captum_xg.repro.cost.networks import Setting
    from captum_xg.repro.section import Section

PICTURE = "cost.png"
_ROUNDS = {"quick": 8, "full": 30}
_SECONDS = {"quick": 12.0, "full": 30.0}
_SIZES = {("small", "cpu"): 84, ("small", "cuda"): 84, ("paper", "cpu"): 64, ("paper", "cuda"): 224}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    add = parser.add_argument
    presets = "quick: up to 8 rounds; full: up to 30, and on a GPU a batch of 32 images as well (default: %(default)s)"
    add("--preset", choices=("quick", "full"), default="quick", help=presets)
    networks = "small: a Fixup-ResNet of 98 thousand parameters; paper: Fixup-ResNet-50 (default: %(default)s)"
    add("--models", choices=("small", "paper"), default="small", help=networks)
    add("--batch-size", type=int, nargs="+", metavar="N", help="examples in a step (default: 2; full on a GPU: 2 32)")
    add("--references", type=int, default=32, metavar="K", help="of Expected Gradients (default: %(default)s)")
    sizes = "side of the images (default: 84 for small; 224 for paper on a GPU, and 64 on a CPU, where 224 takes 20 GB)"
    add("--image-size", type=int, metavar="PIXELS", help=sizes)
    add("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add("--weights", metavar="IGNORED", help="other experiments have this option; here weights are random")
    add("--data", metavar="IGNORED", help="likewise; here images are random")
    output = "where results go; what is there already is not done again (default: %(default)s)"
    add("--output", type=Path, default=Path("captum-xg-cost"), metavar="DIR", help=output)


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, write the picture, and return what there is to say in a report."""
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg.repro.cost.costs import Costs
    from captum_xg.repro.cost.figure import draw
    from captum_xg.repro.cost.report import report
    from captum_xg.repro.processes import wait_for_all
    from captum_xg.repro.units import done, effort

    settings = _settings(options)
    units = _units(settings, options.preset)
    kept: dict[str, object] = {
        **{name: getattr(settings[0], name) for name in ("models", "image_size", "references")},
        "device": settings[0].device.type,
        "batch_sizes": [each.batch_size for each in settings],
        "rounds": _ROUNDS[options.preset],
        "most_seconds": _SECONDS[options.preset],
    }
    found = done(options.output / "units", kept, units, "cost")
    costs = Costs.of({name: unit.value for name, unit in found.items()}, settings)
    if rank_and_processes()[0] == 0:
        draw(options.output / PICTURE, costs)
    wait_for_all()
    seconds, commits = effort(found)
    return report(costs, _command(options), PICTURE, seconds, commits)


run = running(section)


def _settings(options: argparse.Namespace) -> tuple[Setting, ...]:
    """Return one setting for each batch size."""
    from captum_xg._core.options import usable_device
    from captum_xg.repro.cost.networks import Setting
    from captum_xg.repro.processes import of_this_process

    device = usable_device(of_this_process(options.device), "--device", only=("cpu", "cuda"))
    default = (2, 32) if options.preset == "full" and device.type == "cuda" else (2,)
    sizes = tuple(dict.fromkeys(options.batch_size or default))
    side = options.image_size or _SIZES[options.models, device.type]
    least = 32 if options.models == "paper" else 8
    if min(sizes) < 1 or options.references < 1 or side < least:
        raise OptionError(
            f"--batch-size {' '.join(map(str, sizes))}, --references {options.references}, --image-size {side}: there "
            f"must be at least 1 example, 1 reference and {least} pixels."
        )
    return tuple(Setting(options.models, side, size, options.references, device) for size in sizes)


def _units(settings: tuple[Setting, ...], preset: str) -> dict[str, Callable[[], Mapping[str, Any]]]:
    from captum_xg.repro.cost import measure
    from captum_xg.repro.cost.steps import ALONE, EG_BATCH, EG_FRUGAL, EG_LOOP, WAYS, XG_UNCHECKED

    units: dict[str, Callable[[], Mapping[str, Any]]] = {}
    for i, setting in enumerate(settings):
        n = setting.batch_size
        for way in WAYS:
            units[f"memory, batch {n}, {way.key}"] = partial(measure.peak, setting, way)
        # At a larger batch Expected Gradients with all graphs at once fits into no memory, and one graph at a time
        # takes minutes: what is left says how the ratio changes.
        timed = WAYS if i == 0 else tuple(way for way in WAYS if way not in (EG_BATCH, EG_LOOP, EG_FRUGAL, ALONE))
        units[f"seconds, batch {n}"] = partial(_timing, setting, timed, preset)
    for way in WAYS:
        if way is not XG_UNCHECKED:
            units[f"arithmetic, {way.key}"] = partial(_arithmetic, settings[0], way)
    units["gradients"] = partial(measure.differences, settings[0])
    return units


def _timing(setting: Setting, ways: tuple[Any, ...], preset: str) -> dict[str, Any]:
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg.repro.cost.measure import seconds
    from captum_xg.repro.environment import environment

    where = environment(setting.device.type if setting.device.index is None else str(setting.device))
    return {
        "seconds": seconds(setting, ways, _ROUNDS[preset], _SECONDS[preset]),
        "device": where.get("accelerator", where["processor"]),
        "processes": rank_and_processes()[1],
    }


def _arithmetic(setting: Setting, way: Any) -> dict[str, Any]:
    from captum_xg.repro.cost.measure import operations

    return {"operations": operations(setting, way)}


def _command(options: argparse.Namespace) -> str:
    parts = [f"captum-xg repro cost --preset {options.preset} --models {options.models}"]
    if options.device != "cpu":
        parts.append(f"--device {options.device}")
    if options.batch_size:
        parts.append(f"--batch-size {' '.join(map(str, options.batch_size))}")
    if options.references != 32:
        parts.append(f"--references {options.references}")
    if options.image_size:
        parts.append(f"--image-size {options.image_size}")
    return " ".join(parts)
