"""What Figure 2 and Section 4.4 of the paper say."""

from __future__ import annotations

from captum_xg.repro.figure2.comparisons import FourClaims
from captum_xg.repro.section import BEYOND, Claim

TEXT = "Section 4.4"

UNAFFECTED = Claim(
    "figure2/unaffected",
    "Figure 2, left",
    "the accuracy of the X-AlexNet is unaffected by contrast",
    "",
    (
        "is unaffected, showing improved robustness towards multiplicative contrast changes",
        "the accuracy does not drop",
    ),
)
EVERY_IMAGE = Claim(
    "figure2/every-image",
    BEYOND,
    "not only the accuracy: the X-AlexNet says the same of every image at every contrast, to the last bit at powers of "
    "two, and at other contrasts but for ties",
)
DROP = Claim(
    "figure2/drop",
    "Figure 2, left",
    "decreasing the contrast leads to a strong drop in accuracy of a regular AlexNet",
    "",
    ("decreasing the image contrast leads to a strong drop in accuracy of a regular AlexNet",),
)
FOUR = FourClaims(
    equal=Claim(
        "figure2/equal",
        "Figure 2, right",
        "on the X-AlexNet X-Gradient and Integrated Gradients are identical up to a small approximation error",
        "",
        ("produce attributions that are identical up to a small approximation error",),
    ),
    scaled=Claim(
        "figure2/scaled",
        "Figure 2, right",
        "reducing the contrast keeps attributions of the X-AlexNet unchanged up to a factor",
        "α = 0.3",
        (
            "reducing the image contrast keeps the attributions unchanged up to a scaling factor",
            "low-contrast image obtained by multiplying the normalized image with α=0.3",
        ),
    ),
    methods=Claim(
        "figure2/methods-differ",
        "Figure 2, right",
        "on the regular AlexNet input × gradient and Integrated Gradients differ significantly",
        "",
        ("the displayed attributions from the regular AlexNet differ significantly between Input",),
    ),
    contrasts=Claim(
        "figure2/contrasts-differ",
        "Figure 2, right",
        "on the regular AlexNet attributions differ significantly for different contrasts",
        "",
        ("as well as for different contrasts (see highlighted areas)",),
    ),
)
PREDICTABLE = Claim(
    "figure2/predictable",
    TEXT,
    "X-DNNs behave more predictably with contrast changes than regular networks",
    "",
    ("they behave more predictably with contrast changes than regular DNNs",),
)
BACKGROUND = Claim(
    "figure2/background",
    TEXT,
    "high attributions can arise in the background",
    "",
    ("high feature attribution scores can arise in the background",),
)
CLAIMS = (UNAFFECTED, EVERY_IMAGE, DROP, *FOUR.all, PREDICTABLE, BACKGROUND)
