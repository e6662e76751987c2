"""captum-xg repro table2: what does removing biases cost, and how far are single gradients from the integral?

Of AlexNet, VGG and Fixup-ResNet with and without biases: accuracy, and the mean absolute relative difference of
Input×Gradient respectively X-Gradient from Captum's Integrated Gradients with 128 steps, and from the exact integral.
Source: Hesse et al. 2021, Table 2, Section 4.1 and Appendix B.1.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from captum_xg.errors import OptionError
from captum_xg.repro.arguments import FAMILIES, add_subject_arguments, subject_command
from captum_xg.repro.running import running
from captum_xg.repro.section import Section

if TYPE_CHECKING:
    from captum_xg.repro.subjects import Pair, Subjects
    from captum_xg.repro.table2.measure import Units

IMAGES = {"quick": 500, "full": 50_000}
EXPLAINED = {"quick": 16, "full": 500}
"""Images of which distances from IG(128) are taken."""
PRECISE = {"quick": 8, "full": 48}
"""Images of X-DNNs that are explained in both precisions, and integrated exactly, which is cheap on these."""
EXACT = {"quick": {"AlexNet": 2}, "full": dict.fromkeys(FAMILIES, 20)}
"""Images of networks with biases that are integrated exactly; each takes some 8,000 to 20,000 gradients."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {
        "quick": "500 images for accuracy, 16 for distances, 2 of AlexNet integrated exactly, a minute on two cores",
        "full": "up to 50,000, 500, and 20 of each network",
    }
    add_subject_arguments(parser, "table2", presets)
    about = "images of each network with biases that are integrated exactly (default: by preset, 0 of --models paper)"
    parser.add_argument("--exact-images", type=int, metavar="N", help=about)


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, and return what there is to say."""
    from captum_xg.repro.subjects import model_digest, subjects
    from captum_xg.repro.table2.measure import STEPS
    from captum_xg.repro.table2.panels import panels
    from captum_xg.repro.table2.results import families
    from captum_xg.repro.table2.verdict import findings
    from captum_xg.repro.units import done, effort

    exact = exact_images(options)
    chosen = subjects(options, IMAGES[options.preset])
    pairs = {family: chosen.pair(family) for family in FAMILIES}
    weights = {name: model_digest(each) for pair in pairs.values() for name, each in pair.both.items()}
    settings = {**chosen.settings(), "steps": STEPS, "weights": weights}
    units = _units(options.preset, chosen, pairs, exact)
    found = done(options.output / "units", settings, units, "table2")
    results = families({family: (pair.name, f"x{pair.name}") for family, pair in pairs.items()}, found)
    seconds, commits = effort(found)
    n_explained = min(EXPLAINED[options.preset], len(chosen.labels))
    refusals = dict.fromkeys(refusal for each in results for refusal in each.refusals)
    return Section(
        "table2",
        "Table 2: accuracy without biases, and the distance of one gradient from the integral",
        f"Accuracy {chosen.described}; attributions of the true class's logit on the first {n_explained} of them, "
        f"against Captum's Integrated Gradients with {STEPS} steps of Gauss-Legendre and a zero baseline, in float32 "
        "unless said otherwise; exact integrals in float64.",
        findings=findings(results, chosen.not_the_papers),
        panels=panels(results),
        notes=(*_NOTES, *(f"Not integrated exactly: {refusal}" for refusal in refusals)),
        command=subject_command(options, "table2"),
        seconds=seconds,
        commits=commits,
        numbers={name: unit.value for name, unit in found.items()},
    )


def _units(preset: str, chosen: Subjects, pairs: Mapping[str, Pair], exact: Mapping[str, int]) -> Units:
    from captum_xg.repro.table2.measure import accuracy_units, distance_units, exact_units, precision_units

    n = len(chosen.labels)
    found: Units = {}
    for family, pair in pairs.items():
        for name, network in pair.both.items():
            found |= accuracy_units(chosen, name, network)
        found |= distance_units(chosen, pair, min(EXPLAINED[preset], n))
        found |= precision_units(chosen, pair, min(PRECISE[preset], n))
        found |= exact_units(chosen, pair, min(exact.get(family, 0), n))
    return found


def exact_images(options: argparse.Namespace) -> Mapping[str, int]:
    """Return of how many images of each network with biases the exact integral is taken.

    Raises:
        OptionError: If the number is negative.
    """
    if options.exact_images is None:
        return EXACT[options.preset] if options.models == "small" else {}
    if options.exact_images < 0:
        raise OptionError(f"--exact-images {options.exact_images}: there cannot be less than none.")
    return dict.fromkeys(FAMILIES, int(options.exact_images))


run = running(section)
_NOTES = (
    "The released formula is mean |IG − A| / (mean |IG| + 1e-7), here of each image by itself; Eq. 14 is the mean of "
    "|IG − A| / |IG| over all numbers of an image. Where IG and A are both 0, as behind black pixels, Eq. 14 has 0/0: "
    "these count as equal, and lower it. Ratios with IG near 0 are of any size, and raise it: the median and the share "
    "of numbers that are off by more than 10 % are over numbers where IG is not 0.",
    "On an X-DNN the gradient is the same all along the path, so Gauss-Legendre has no error of quadrature there, with "
    "any number of steps: what is left in float32 is rounding of gradients, and in float64 that Captum's weights of "
    "the steps are in float32.",
)
