"""captum-xg repro figure3: how many steps does Integrated Gradients need on AlexNet, and on the X-AlexNet?

Captum's own IntegratedGradients, in float32, with n = 1 … 256 steps of each of its rules of integration. The paper
compares with 300 steps; beside that stands the exact integral in float64, whose error is rounding.
Source: Hesse et al. 2021, Figure 3 and Appendix B.5.
"""

from __future__ import annotations

import argparse

from captum_xg._core.files import make_folder, require_writable
from captum_xg.errors import OptionError
from captum_xg.repro.arguments import add_subject_arguments, subject_command
from captum_xg.repro.running import running
from captum_xg.repro.section import Panel, Section

IMAGES = {"quick": 6, "full": 200}
EXACT = {"quick": 2, "full": 20}
"""Images of the network with biases that are integrated exactly; each takes thousands of gradients."""
PICTURE = "figure3.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this experiment."""
    presets = {
        "quick": f"{IMAGES['quick']} images, {EXACT['quick']} of them integrated exactly, a minute on two cores",
        "full": f"{IMAGES['full']} and {EXACT['full']}",
    }
    add_subject_arguments(parser, "figure3", presets)
    about = "images of AlexNet that are integrated exactly (default: by preset, 0 with --models paper)"
    parser.add_argument("--exact-images", type=int, metavar="N", help=about)


def section(options: argparse.Namespace) -> Section:
    """Do what is missing, draw the picture, and return what there is to say."""
    from captum_xg._core.distributed import rank_and_processes
    from captum_xg.repro.figure3.figure import draw
    from captum_xg.repro.figure3.measure import REFERENCE_STEPS, unit_name, units
    from captum_xg.repro.figure3.report import findings, network_of, panels
    from captum_xg.repro.subjects import model_digest, subjects
    from captum_xg.repro.units import done, effort

    chosen = subjects(options, IMAGES[options.preset])
    exact = exact_images(options)
    images = len(chosen.labels)
    pair = chosen.pair("AlexNet")
    exact_of = {pair.name: min(exact, images), f"x{pair.name}": images}
    settings = {
        **{key: value for key, value in chosen.settings().items() if key != "images"},
        "steps": REFERENCE_STEPS,
        "weights": {name: model_digest(network) for name, network in pair.both.items()},
    }
    picture = make_folder(options.output) / PICTURE
    require_writable(picture)
    found = done(options.output / "units", settings, units(chosen, pair.both, exact_of, images), "figure3")
    regular, xdnn = (
        network_of(name, [found[unit_name(name, i, exact_of[name])].value for i in range(images)]) for name in pair.both
    )
    if rank_and_processes()[0] == 0:
        draw(picture, (regular, xdnn))
    seconds, commits = effort(found)
    counted = f", {min(regular.regions):,} to {max(regular.regions):,} linear regions a path" if regular.regions else ""
    n_exact = 0 if regular.to_exact is None else len(regular.to_exact)
    return Section(
        "figure3",
        "Figure 3: how many steps Integrated Gradients needs",
        f"IG(n) by Captum in float32, zero baseline, logit of the true class, {chosen.described} (AlexNet alone); the "
        f"exact integral in float64 of {n_exact} images of {regular.name}{counted}, and of all of {xdnn.name}.",
        findings=findings(regular, xdnn),
        panels=(
            Panel(
                "Mean absolute difference of IG(n), by rule of integration: with biases (solid), without (dashed)",
                picture=PICTURE,
                description="Two log-log panels over 1 to 256 steps: differences to IG(300) and to the exact integral.",
            ),
            *panels((regular, xdnn)),
        ),
        notes=(
            "Relative differences are mean |IG(n) − reference| / mean |reference| of an image, averaged over images; "
            "intervals are over images.",
            "riemann_left and riemann_trapezoid take the gradient at α = 0, which on a zero input says nothing of the "
            "path, and the weights of Captum's riemann_trapezoid sum to (n − 1)/n.",
            *(f"Not integrated exactly: {refusal}" for refusal in regular.refusals),
        ),
        command=subject_command(options, "figure3"),
        seconds=seconds,
        commits=commits,
        numbers={name: unit.value for name, unit in found.items()},
    )


def exact_images(options: argparse.Namespace) -> int:
    """Return of how many images of a network with biases the exact integral is taken.

    Raises:
        OptionError: If the number is negative.
    """
    if options.exact_images is None:
        return EXACT[options.preset] if options.models == "small" else 0
    if options.exact_images < 0:
        raise OptionError(f"--exact-images {options.exact_images}: there cannot be less than none.")
    return int(options.exact_images)


run = running(section)
