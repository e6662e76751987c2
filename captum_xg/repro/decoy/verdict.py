"""The decoy experiment in a report: whether priors keep networks from decoys, and at what cost; not of the paper."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from captum_xg.repro.decoy.claims import BEATS, CHEAP, FOOLED, HELPS, LOOKS_AWAY
from captum_xg.repro.decoy.protocol import EG_8, METHODS, NO_PRIOR, NO_PRIOR_XDNN, X_GRADIENT, Method
from captum_xg.repro.decoy.report import Outcomes, accuracy_table, choice_table
from captum_xg.repro.estimate import difference, estimate
from captum_xg.repro.section import Finding, Panel, Section, table
from captum_xg.repro.verdicts import above, below

CHANCE = 0.02
"""The share of the pixels that the patch has."""
PICTURES = (
    ("decoy.png", "Test accuracy on random decoys, with 95 % intervals"),
    ("decoy_examples.png", "Where networks look: Integrated Gradients of some test images"),
)


def findings(outcomes: Outcomes) -> tuple[Finding, ...]:
    """Return one finding for each claim."""
    ours, plain = outcomes[X_GRADIENT], outcomes[NO_PRIOR_XDNN]
    test, share = ours.values("test"), ours.values("patch_share")
    seconds = {method: outcomes[method].seconds for method in (X_GRADIENT, EG_8)}
    times = seconds[EG_8] / seconds[X_GRADIENT]
    return (
        above(FOOLED, estimate(outcomes[NO_PRIOR].values("patch_share")), CHANCE, "share of the attribution in it"),
        above(HELPS, difference(test, plain.values("test")), 0.0, "test accuracy, minus that without a prior"),
        below(LOOKS_AWAY, difference(share, plain.values("patch_share")), 0.0, "share, minus that without a prior"),
        *(
            above(claim, difference(test, outcomes[method].values("test")), 0.0, f"test accuracy, minus {method.label}")
            for method, claim in BEATS.items()
        ),
        Finding(
            CHEAP,
            f"{times:.1f} times as long with Expected Gradients (8), the shortest of many steps",
            "confirmed" if times > 1 else "not confirmed",
            "confirmed if that is above 1",
        ),
    )


def as_section(outcomes: Outcomes, about: str, content: Mapping[str, object], options: str) -> Section:
    """Return the section of a report.

    Args:
        outcomes: All methods.
        about: Data, seeds and steps, in a sentence.
        content: All numbers.
        options: The preset and what follows it on the command line.
    """
    lost = {m: statistics.fmean(outcomes[m].values("test")) for m in METHODS if not m.has_prior}
    return Section(
        "decoy",
        "Decoys: does a prior keep a network from a patch that gives the label away?",
        about,
        findings=findings(outcomes),
        panels=(
            table("Accuracy and cost by what the prior is on; intervals over seeds", accuracy_table(outcomes)),
            table("How λ was chosen", choice_table(outcomes)),
            *(Panel(title, picture=file, description=title) for file, title in PICTURES),
        ),
        notes=(_lost(lost),),
        command=f"captum-xg repro decoy --preset {options}",
        numbers=content,
    )


def _lost(means: Mapping[Method, float]) -> str:
    parts = [f"{method.label} {100 * mean:.1f} %" for method, mean in means.items()]
    return "Ross et al. 2017 made the decoys. Mean test accuracy without a prior: " + ", ".join(parts) + "."
