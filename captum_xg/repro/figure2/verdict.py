"""The verdicts on Figure 2 that are about accuracy, and on what Section 4.4 concludes from it."""

from __future__ import annotations

import math

import torch

from captum_xg.repro.figure2 import claims
from captum_xg.repro.figure2.accuracy import CONTRASTS, LINEAR, POWERS, Accuracy
from captum_xg.repro.figure2.attributions import LOW, PAIRS
from captum_xg.repro.figure2.comparisons import Comparisons
from captum_xg.repro.means import mean_over_examples
from captum_xg.repro.section import Finding, Panel, table
from captum_xg.repro.verdicts import above

UNCHANGED = 0.1
"""Percentage points that count as no drop."""
STRONG = 10.0
"""Percentage points that count as a strong drop."""
LOWEST = POWERS[-1]


def contrast_name(contrast: float) -> str:
    """Return a contrast as it is read: a power of two as one, where its digits would not be."""
    exponent = math.log2(contrast)
    return f"2^{exponent:.0f}" if exponent == int(exponent) and exponent < -3 else f"{contrast:g}"


def accuracy_findings(xdnn: Accuracy, regular: Accuracy) -> list[Finding]:
    """Return the verdicts on the left side of the figure."""
    drops = {contrast: xdnn.drop(contrast).value for contrast in CONTRASTS}
    worst = max(CONTRASTS, key=lambda contrast: abs(drops[contrast]))
    full = f"{xdnn.percent(1.0).formatted('.1f')} % at α = 1"
    moved = f"{full}; at no other contrast farther from that than {abs(drops[worst]):.2g} points"
    same = abs(drops[worst]) < UNCHANGED
    rule = f"it must move by less than {UNCHANGED:g} percentage points at {len(CONTRASTS) - 1} contrasts down to 2^-10"
    shown = ", ".join(f"{regular.percent(c).value:.1f} % at {contrast_name(c)}" for c in (1.0, LOW, 0.1, LOWEST))
    what = f"accuracy {shown}; lost at α = {contrast_name(LOWEST)}, in points"
    return [
        Finding(claims.UNAFFECTED, moved, "confirmed" if same else "not confirmed", rule),
        _every_image(xdnn, regular),
        above(claims.DROP, regular.drop(LOWEST), STRONG, what),
    ]


def _every_image(xdnn: Accuracy, regular: Accuracy) -> Finding:
    exact = sum(len(xdnn.changed(contrast)) for contrast in POWERS)
    tied = sum(len(xdnn.changed(contrast)) for contrast in LINEAR)
    untied = sum(len(xdnn.changed_untied(contrast)) for contrast in LINEAR)
    others = sum(len(regular.changed(contrast)) for contrast in CONTRASTS)
    n, asked = len(xdnn.labels), len(xdnn.labels) * (len(CONTRASTS) - 1)
    ours = (
        f"of {n} images at {len(POWERS) - 1} powers of two {exact} changes of what it says, at {len(LINEAR)} other "
        f"contrasts {tied}, {untied} of them without a tie; the regular network {others} of {asked}"
    )
    right = exact == 0 and untied == 0
    why = "there must be none at powers of two, and elsewhere none where the two largest logits are apart"
    return Finding(claims.EVERY_IMAGE, ours, "confirmed" if right else "not confirmed", why)


def concluding_findings(xdnn: Comparisons, regular: Comparisons, *, black: bool) -> list[Finding]:
    """Return the verdicts on what the section concludes.

    Args:
        xdnn: Attributions of the X-DNN.
        regular: Of the regular network.
        black: Whether the background of the images is 0.
    """
    pair = PAIRS[3]
    changes = (torch.tensor(each.numbers[pair]["distance"]) for each in (regular, xdnn))
    more = mean_over_examples(next(changes) - next(changes))
    what = "d of IG at α = 1 and 0.3 on AlexNet minus that on the X-AlexNet, paired"
    why = (
        "the background of these images is 0, where x·∇F(x) is 0 whatever the network does"
        if black
        else "it is about single pictures, and these images have no outlines of objects to measure it by"
    )
    share = max(xdnn.on_zeros)
    ours = f"at most {share:.1%} of the attribution of an image lies on numbers of the input that are 0"
    return [above(claims.PREDICTABLE, more, 0.0, what), Finding(claims.BACKGROUND, ours, "not comparable", why)]


def accuracy_panel(xdnn: Accuracy, regular: Accuracy) -> Panel:
    """Return the table of accuracies."""
    rows = [["contrast α", "X-AlexNet", "AlexNet", "images of which X-AlexNet says something else"]]
    for contrast in CONTRASTS:
        cells = (each.percent(contrast).formatted(".1f") for each in (xdnn, regular))
        rows.append([contrast_name(contrast), *cells, str(len(xdnn.changed(contrast)))])
    return table("Top-1 accuracy in % with 95 % intervals, by contrast", rows)
