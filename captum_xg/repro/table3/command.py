"""captum-xg repro table3: how good are attribution methods by masking metrics, on AlexNet and on X-AlexNet?

Source: Hesse et al. 2021, Table 3, Section 4.2 and Appendix B.2.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from captum_xg._core.files import make_folder, require_writable
from captum_xg.repro.arguments import add_subject_arguments, subject_command
from captum_xg.repro.running import running
from captum_xg.repro.section import Panel, Section

if TYPE_CHECKING:
    from captum_xg.repro.subjects import Subjects
    from captum_xg.repro.table3.maskings import Masking

PRESETS = {"quick": 60, "full": 500}
PICTURE = "table3.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {"quick": "60 images, two minutes on two cores", "full": "500, a quarter of an hour"}
    add_subject_arguments(parser, "table3", presets)


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, draw the curves, and return what there is to say."""
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg.repro.subjects import model_digest, subjects
    from captum_xg.repro.table3.figure import draw
    from captum_xg.repro.table3.maskings import maskings
    from captum_xg.repro.table3.measure import BATCH, REFERENCES, scores_of
    from captum_xg.repro.table3.printed import METHODS, NETWORKS
    from captum_xg.repro.table3.report import panels
    from captum_xg.repro.table3.scores import Scores
    from captum_xg.repro.table3.verdict import findings

    chosen = subjects(options, PRESETS[options.preset])
    require_writable(make_folder(options.output) / PICTURE)
    networks = chosen.pair("AlexNet").both
    image = chosen.batch(0, 1)[0]
    used = maskings(min(image.shape[2:]))
    settings = {
        **chosen.settings(),
        "networks": {name: model_digest(model) for name, model in networks.items()},
        "references": len(chosen.others(REFERENCES)),
        "maskers": {key: repr(each.masker) for key, each in used.items()},
        "methods": list(METHODS.values()),
        "batch": BATCH,
    }
    units = [scores_of(model, name, chosen, used, options.output, settings) for name, model in networks.items()]
    scores = {network: Scores(network, unit.value) for network, unit in zip(NETWORKS, units, strict=True)}
    if rank_and_processes()[0] == 0:
        draw(options.output / PICTURE, scores)
    caption = (
        "The curves whose areas the table has, with the paper's mask: what each network says while pixels are masked"
    )
    shown = Panel(caption, picture=PICTURE, description="Curves of four masking metrics on two networks by method.")
    return Section(
        "table3",
        "Table 3: attribution methods by masking metrics",
        _setting(chosen, used),
        findings=tuple(findings(scores, used, chosen.not_the_papers)),
        panels=(*panels(scores, used), shown),
        notes=_notes(chosen, used),
        command=subject_command(options, "table3"),
        seconds=sum(unit.seconds for unit in units),
        commits=tuple(sorted({commit for unit in units for commit in unit.value["commits"]})),
        numbers={
            "settings": settings,
            "networks": {
                network: {name: value for name, value in each.values.items() if name != "commits"}
                for network, each in scores.items()
            },
        },
    )


run = running(section)


def _setting(chosen: Subjects, used: dict[str, Masking]) -> str:
    masks = "; ".join(f"{key}: {each.about}" for key, each in used.items())
    return (
        f"AlexNet and X-AlexNet {chosen.described}, in float32. 16 fractions of kept pixels from 0.01 to 1, one "
        f"mask for all channels. Masked pixels are taken from: {masks}. Intervals are 95 % bootstrap intervals over "
        "images, differences are paired."
    )


def _notes(chosen: Subjects, used: dict[str, Masking]) -> tuple[str, ...]:
    from captum_xg.repro.table3.measure import REFERENCES

    images = chosen.batch(0, min(len(chosen.labels), 128))[0]
    black = float((images == 0).all(1).double().mean())
    others = len(chosen.others(REFERENCES))
    drawn = f"{others} other images" if others else "the images themselves, as the data have no others"
    notes = [
        f"Expected Gradients draws its references from {drawn}.",
        "The released protocol differs from the paper's in the kernel of the blur. Its average over batches, wrong for "
        "a short last one, is left out. ROAD has no kernel, so it is the same in both.",
    ]
    if black > 0.01:
        notes.append(
            f"{black:.0%} of the pixels are 0 in all channels. Attributions that are x times something, as IG "
            "and XG, are 0 there: KPM, KNM and RAM never keep these pixels, whatever the fraction. "
            "ImageNet's normalised images hardly have such pixels."
        )
    if "scaled" in used:
        notes.append(
            "The kernel of 51 pixels is larger than these images, which go on mirrored beyond their edges: the blur "
            "leaves little but the mean grey. The masker `scaled` has the paper's ratio of kernel and image."
        )
    return tuple(notes)
