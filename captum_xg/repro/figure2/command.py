"""captum-xg repro figure2: what less contrast does to accuracy and attributions of AlexNet and X-AlexNet.

Source: Hesse et al. 2021, Figure 2 and Section 4.4.
"""

from __future__ import annotations

import argparse

from captum_xg._core.files import make_folder, require_writable
from captum_xg.repro.arguments import add_subject_arguments, subject_command
from captum_xg.repro.running import running
from captum_xg.repro.section import Panel, Section

PRESETS = {"quick": 500, "full": 10_000}
EXPLAINED = {"quick": 12, "full": 500}
PICTURE = "figure2.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {
        "quick": "accuracy on 500 images, attributions of 12, seconds on one core",
        "full": "up to 10,000 and 500",
    }
    add_subject_arguments(parser, "figure2", presets)


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, draw the figure, and return what there is to say."""
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg.repro.figure2 import comparisons
    from captum_xg.repro.figure2.claims import FOUR
    from captum_xg.repro.figure2.figure import draw
    from captum_xg.repro.figure2.grid import class_name
    from captum_xg.repro.figure2.measure import measured
    from captum_xg.repro.figure2.verdict import accuracy_findings, accuracy_panel, concluding_findings
    from captum_xg.repro.subjects import subjects
    from captum_xg.repro.units import effort

    chosen = subjects(options, PRESETS[options.preset])
    require_writable(make_folder(options.output) / PICTURE)
    n_classes = 10 if options.models == "small" else 1000
    pair = chosen.pair("AlexNet")
    n_explained = EXPLAINED[options.preset]
    found = measured(chosen, pair, n_explained, lambda label: class_name(label, n_classes), options.output / "units")
    (says_x, told_x), (says, told) = found.xdnn, found.regular
    if rank_and_processes()[0] == 0:
        draw(options.output / PICTURE, says_x, says, found.example)
    picture = Panel(
        "Left: accuracy over contrast. Right: the first image at α = 1 and 0.3, and its attributions, each map scaled "
        "for itself; the ends of the colours are the 99.5 % quantile of a map",
        picture=PICTURE,
        description="Accuracy of X-AlexNet stays level as contrast falls, that of AlexNet drops; maps of attributions.",
    )
    seconds, commits = effort(found.units)
    return Section(
        "figure2",
        "Figure 2: less contrast",
        f"AlexNet and X-AlexNet {chosen.described}; accuracy on all of them in float32, attributions of the first "
        f"{min(n_explained, len(chosen.labels))} in float64, IG with 128 steps. Contrast α multiplies what goes into "
        "the network, after any normalisation.",
        findings=(
            *accuracy_findings(says_x, says),
            *comparisons.findings(FOUR, told_x, told),
            *concluding_findings(told_x, told, black=options.models == "small"),
        ),
        panels=(picture, accuracy_panel(says_x, says), comparisons.panel(told_x, told)),
        command=subject_command(options, "figure2"),
        seconds=seconds,
        commits=commits,
        numbers={name: unit.value for name, unit in found.units.items() if not name.startswith("maps")},
    )


run = running(section)
