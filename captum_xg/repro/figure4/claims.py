"""What Figure 4 and Appendix B.4 of the paper say."""

from __future__ import annotations

from captum_xg.repro.figure2.comparisons import FourClaims
from captum_xg.repro.section import Claim

SOURCE = "Figure 4, Appendix B.4"

FOUR = FourClaims(
    equal=Claim(
        "figure4/equal",
        SOURCE,
        "on the X-AlexNet X-Gradient equals Integrated Gradients up to a small approximation error",
        "",
        ("up to a small approximation error and that reducing the contrast of the images",),
    ),
    scaled=Claim(
        "figure4/scaled",
        SOURCE,
        "reducing the contrast keeps attributions of the X-AlexNet unchanged up to a factor",
        "",
        ("reducing the contrast of the images keeps the attribution unchanged up to a scaling factor",),
    ),
    methods=Claim(
        "figure4/methods-differ",
        SOURCE,
        "on the regular AlexNet attributions by input × gradient and Integrated Gradients differ",
        "",
        ("for the regular AlexNet the attributions obtained from Input", "and Integrated Gradients differ and change"),
    ),
    contrasts=Claim(
        "figure4/contrasts-differ",
        SOURCE,
        "on the regular AlexNet attributions change with the contrast",
        "",
        ("Integrated Gradients differ and change depending on the contrast",),
    ),
)
CONSISTENT = Claim(
    "figure4/consistent",
    SOURCE,
    "further images are consistent with what Section 4.4 finds",
    "",
    ("are consistent with the additional results",),
)
CLAIMS = (*FOUR.all, CONSISTENT)
