"""What we say about methods on networks whose true attribution is known; the paper has no such experiment."""

from __future__ import annotations

from captum_xg.repro.section import BEYOND, Claim


def _claim(key: str, says: str) -> Claim:
    return Claim(f"truth/{key}", BEYOND, says)


HOMOGENEOUS = _claim("homogeneous", "On homogeneous networks X-Gradient is the truth to rounding, from one gradient")
REFUSES = _claim("refuses", "X-Gradient refuses all networks with biases here, and none without")
INPUT_X_GRADIENT = _claim("input x gradient", "With biases input × gradient is not the truth, on any of these networks")
EXACT = _claim("exact", "Exact Integrated Gradients is the truth to rounding, with biases and without")
QUADRATURE = _claim("quadrature", "IG(128) is within 2 % of the truth with biases, on each of these networks")
ADAPTIVE = _claim(
    "adaptive", "Adaptive Integrated Gradients keeps its tolerance of 1 % on average, on each of these networks"
)
ONE_DRAW = _claim("one draw", "With biases EG(1) is noisy: its error is above 10 %, and above that of EG(32)")
DEEP_LIFT = _claim(
    "DeepLift", "DeepLift is the truth as well: on disjoint groups it cannot be told from Integrated Gradients"
)
OCCLUSION = _claim("occlusion", "Occlusion, one feature at a time, is not the truth where features interact")
GRADIENT = _claim(
    "gradient", "The gradient alone orders features worse than exact Integrated Gradients, on each network"
)
REGION = _claim("region", "Exact Integrated Gradients puts everything into the region that matters")

CLAIMS = (
    *(HOMOGENEOUS, REFUSES, INPUT_X_GRADIENT, EXACT, QUADRATURE, ADAPTIVE),
    *(ONE_DRAW, DEEP_LIFT, OCCLUSION, GRADIENT, REGION),
)
