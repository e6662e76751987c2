"""What Figure 3, Section 4 and Appendix B.5 of the paper say, and what we add."""

from __future__ import annotations

from captum_xg.repro.section import BEYOND, Claim

SUFFICIENT = Claim(
    "figure3/sufficient",
    "Figure 3, Appendix B.5",
    "on AlexNet Integrated Gradients has converged after approximately 128 steps, measured against 300 steps",
    "128 steps, against 300",
    (
        "We find convergence to occur after approximately 128 steps.",
        "We find 128 approximation steps to be sufficient and use this number in our experiments.",
        "for convergence. We use the trained AlexNet model from Sec. 4.1",
        "obtained by using 300 and different numbers of approximation steps for AlexNet",
    ),
)
NECESSARY = Claim(
    "figure3/necessary",
    "Section 4",
    "convergence occurs after approximately 128 steps, not long before",
    "128 steps",
    ("we assume numerical convergence for Integrated Gradients and Expected Gradients", "128 approximation steps"),
)
EXACT = Claim(
    "figure3/exact",
    BEYOND,
    "128 steps are also sufficient against the exact integral, which no number of steps has a part in",
)
REFERENCE = Claim(
    "figure3/reference",
    BEYOND,
    "IG(300), the figure's reference, is itself off from the exact integral",
)
HOMOGENEOUS = Claim(
    "figure3/homogeneous",
    BEYOND,
    "on the X-AlexNet two steps of Gauss-Legendre give what 256 give, but for rounding in float32",
)
RULES = Claim(
    "figure3/rules",
    BEYOND,
    "the rule of integration matters: with 128 steps Captum's default, Gauss-Legendre, is nearer to the exact integral "
    "than riemann_left and riemann_trapezoid",
)
CLAIMS = (SUFFICIENT, NECESSARY, EXACT, REFERENCE, HOMOGENEOUS, RULES)
