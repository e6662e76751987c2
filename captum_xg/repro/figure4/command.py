"""captum-xg repro figure4: attributions of more images at two contrasts, by AlexNet and X-AlexNet.

Source: Hesse et al. 2021, Figure 4 and Appendix B.4.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from captum_xg._core.files import make_folder, require_writable
from captum_xg.repro.arguments import add_subject_arguments, subject_command
from captum_xg.repro.running import running
from captum_xg.repro.section import Finding, Panel, Section

PRESETS = {"quick": 4, "full": 12}
POOL = 10
"""Images to choose from for each that is shown."""
PICTURE = "figure4.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {"quick": "4 images, seconds on one core", "full": "12"}
    add_subject_arguments(parser, "figure4", presets)


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, draw the figure, and return what there is to say."""
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg.repro.figure2 import comparisons
    from captum_xg.repro.figure2.grid import Example, class_name
    from captum_xg.repro.figure2.measure import maps_units, settings_of
    from captum_xg.repro.figure4.claims import FOUR
    from captum_xg.repro.figure4.figure import draw
    from captum_xg.repro.subjects import subjects
    from captum_xg.repro.units import done, effort

    shown = subjects(options, PRESETS[options.preset])
    require_writable(make_folder(options.output) / PICTURE)
    pool = replace(shown, n_images=POOL * shown.n_images + 1)
    pair = pool.pair("AlexNet")
    indices = one_of_each_class(pool.labels, shown.n_images)
    units: dict[str, Callable[[], Mapping[str, Any]]] = {}
    names: list[tuple[str, str]] = []
    for index in indices:
        work, of_both = maps_units(pool, pair, index)
        units |= work
        names.append(of_both)
    found = done(options.output / "units", settings_of(pool, pair), units, "figure 4")
    n_classes = 10 if options.models == "small" else 1000
    maps = [(found[x].value, found[regular].value) for x, regular in names]
    examples = [Example(class_name(x["label"], n_classes), x, regular) for x, regular in maps]
    if rank_and_processes()[0] == 0:
        draw(options.output / PICTURE, examples)
    told = [comparisons.Comparisons.of([each["numbers"] for each in both]) for both in zip(*maps, strict=True)]
    findings = comparisons.findings(FOUR, told[0], told[1])
    picture = Panel(
        f"{len(indices)} images at α = 1 and 0.3, and their attributions, each map scaled for itself; the ends of the "
        "colours are the 99.5 % quantile of a map",
        picture=PICTURE,
        description="Maps of the X-AlexNet look the same by both methods at both contrasts, those of AlexNet do not.",
    )
    seconds, commits = effort(found)
    return Section(
        "figure4",
        "Figure 4: more examples",
        f"AlexNet and X-AlexNet {replace(shown, n_images=len(indices)).described}: the first of each class, but "
        "for the image of Figure 2. In float64, IG with 128 steps. Contrast α multiplies what goes into the network, "
        "after any normalisation.",
        findings=(*findings, _consistent(findings)),
        panels=(picture, comparisons.panel(told[0], told[1])),
        command=subject_command(options, "figure4"),
        seconds=seconds,
        commits=commits,
        numbers={name: {"label": unit.value["label"], **unit.value["numbers"]} for name, unit in found.items()},
    )


run = running(section)


def one_of_each_class(labels: Sequence[int], n: int) -> list[int]:
    """Return n images, the first of each class before the second of any; not image 0, unless there is no other.

    No network is asked, so that none of them is chosen for what it shows.
    """
    rest = range(1, len(labels)) if len(labels) > 1 else range(1)
    seen: dict[int, count[int]] = {}
    turn = {i: next(seen.setdefault(labels[i], count())) for i in rest}
    return sorted(rest, key=lambda i: (turn[i], i))[:n]


def _consistent(findings: Sequence[Finding]) -> Finding:
    from captum_xg.repro.figure4.claims import CONSISTENT

    held = sum(each.verdict == "confirmed" for each in findings)
    ours = f"{held} of the {len(findings)} statements above"
    right = held == len(findings)
    return Finding(CONSISTENT, ours, "confirmed" if right else "not confirmed", "all of them must be confirmed")
