"""What the experiment on patches is asked to show; none of it is the paper's."""

from __future__ import annotations

from captum_xg.repro.section import BEYOND, Claim

ACCURACY = Claim(
    "patches/accuracy",
    BEYOND,
    "A transformer of degree 1 is as accurate as its regular twin: at most one percentage point below it",
)
PROVEN = Claim(
    "patches/proven",
    BEYOND,
    "The trained transformer, and every variant of it, is proven to be homogeneous of degree 1",
)
EXACT = Claim(
    "patches/exact",
    BEYOND,
    "On the trained transformer X-Gradient, from one backward pass, is Integrated Gradients with 64 Gauss–Legendre "
    "steps to 1e-6, in double precision",
)
STEPS = Claim(
    "patches/steps",
    BEYOND,
    "Integrated Gradients of the regular twin needs more than one step to come within 1 % of the integral",
)
NORM = Claim("patches/norm", BEYOND, "Norms that keep the scale are worth accuracy, compared with none")
POSITIONS = Claim("patches/positions", BEYOND, "Positions as factors are worth accuracy, compared with none")
TEMPERATURE = Claim("patches/temperature", BEYOND, "Learned temperatures are worth accuracy, compared with fixed ones")
GATE = Claim("patches/gate", BEYOND, "A gate of degree 0 is worth accuracy, compared with a ReLU")
DEEP = Claim(
    "patches/deep",
    BEYOND,
    "Twelve layers train stably: all losses are finite, and the accuracy is at most one percentage point below that of "
    "four layers, trained as long",
)
ATTRIBUTION_COST = Claim(
    "patches/attribution cost",
    BEYOND,
    "While its proof stands, X-Gradient on a large batch costs at most 1.05 forward and backward passes of the "
    "transformer",
)
PRIOR_COST = Claim(
    "patches/prior cost",
    BEYOND,
    "A training step of the transformer with a prior on X-Gradient costs at most 2.6 plain ones",
)

CLAIMS = (
    *(ACCURACY, PROVEN, EXACT, STEPS, NORM, POSITIONS, TEMPERATURE, GATE, DEEP),
    *(ATTRIBUTION_COST, PRIOR_COST),
)
