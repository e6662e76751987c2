"""What Table 2, Section 4.1 and Appendix B.1 of the paper say, and what we add."""

from __future__ import annotations

from captum_xg.repro.section import BEYOND, Claim

REGULAR_ROW = "Regular DNN 79.21 90.44 92.56 79.0 97.8 93.8"
XDNN_ROW = "-DNN 78.54 90.25 91.12 1.2 0.4 0.0"
PAPERS = {"AlexNet": "AlexNet", "VGG": "VGG16", "ResNet": "ResNet-50"}
TOP5 = {"AlexNet": (79.21, 78.54), "VGG": (90.44, 90.25), "ResNet": (92.56, 91.12)}
"""Family → percent with biases and without."""
DISTANCES = {"AlexNet": (79.0, 1.2), "VGG": (97.8, 0.4), "ResNet": (93.8, 0.0)}
"""Family → mean absolute relative difference in percent, of Input×Gradient with biases and X-Gradient without."""


def _row(what: str, family: str, printed: tuple[float, float], says: str, digits: int) -> Claim:
    regular, xdnn = (f"{number:.{digits}f} %" for number in printed)
    return Claim(
        f"table2/{what}/{family.lower()}",
        "Table 2",
        f"{PAPERS[family]}: {says}",
        f"{regular}, without biases {xdnn}",
        (REGULAR_ROW, XDNN_ROW),
    )


TOP5_CLAIMS = {family: _row("top5", family, printed, "top-5 accuracy", 2) for family, printed in TOP5.items()}
DISTANCE_CLAIMS = {
    family: _row("distance", family, printed, "mean absolute relative difference to IG(128)", 1)
    for family, printed in DISTANCES.items()
}
MARGINAL = Claim(
    "table2/marginal",
    "Section 4.1",
    "removing the biases decreases accuracy only marginally",
    "",
    (
        "removing the bias decreases the accuracy of the models only marginally",
        "has a surprisingly minor impact on the accuracy of the model in two application domains",
    ),
)
DIFFERENT = Claim(
    "table2/different",
    "Section 4.1",
    "with biases, Input×Gradient is very different from Integrated Gradients",
    "",
    ("For regular models with biases, Integrated Gradients produce a very different attribution compared to Input",),
)
REDUCED = Claim(
    "table2/reduced",
    "Table 2",
    "removing the biases reduces the difference to Integrated Gradients significantly",
    "",
    ("while reducing the mean absolute relative difference to Integrated Gradients significantly",),
)
EQUAL = Claim(
    "table2/equal",
    "Section 4.1",
    "without biases, X-Gradient and Integrated Gradients are virtually identical",
    "",
    ("the two attribution methods are virtually identical, as expected",),
)
EXACT = Claim(
    "table2/exact",
    "Section 4.1",
    "X-Gradient computes the exact integral",
    "",
    ("whereas our method computes the exact integral",),
)
QUADRATURE = Claim(
    "table2/quadrature",
    "Section 4.1",
    "the small deviation is that of Integrated Gradients' numerical approximation; X-Gradient is the exact integral",
    "",
    (
        "The small deviation can be explained by the fact that the result of Integrated Gradients",
        "whereas our method computes the exact integral",
    ),
)
WEIGHTS = Claim(
    "table2/weights",
    BEYOND,
    "what is left of it in float64 is rounding of the weights of the steps, and no error of quadrature, which would "
    "grow with fewer steps",
)
ROUNDING = Claim(
    "table2/rounding",
    BEYOND,
    "without biases, the deviation of X-Gradient from IG(128) is no more than rounding of single precision",
)
REGULAR_EXACT = Claim(
    "table2/regular-exact",
    BEYOND,
    "with biases, Input×Gradient is as far from the exact integral as from IG(128): the distance is not IG's error",
)
CLAIMS = (
    *TOP5_CLAIMS.values(),
    MARGINAL,
    *DISTANCE_CLAIMS.values(),
    DIFFERENT,
    REDUCED,
    EQUAL,
    EXACT,
    QUADRATURE,
    WEIGHTS,
    ROUNDING,
    REGULAR_EXACT,
)
