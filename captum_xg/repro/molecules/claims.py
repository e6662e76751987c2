"""What is claimed of molecules; nothing of it is in the paper."""

from __future__ import annotations

from captum_xg.repro.molecules.tasks import FREESOLV, LOG_P, SOLUBILITY
from captum_xg.repro.section import BEYOND, Claim

AS_GOOD = {
    name: Claim(
        f"molecules/{name}",
        BEYOND,
        f"Without biases a message-passing network predicts {what} with an error at most 5 % larger than its twin's",
    )
    for name, what in (
        (LOG_P, "log P"),
        (SOLUBILITY, "the measured solubility"),
        (FREESOLV, "measured hydration free energies"),
    )
}
EXACT = Claim(
    "molecules/exact",
    BEYOND,
    "On trained networks X-Gradient of atoms and bonds is Integrated Gradients, to 1e-6 of the largest attribution",
)
TRUTH = Claim(
    "molecules/truth",
    BEYOND,
    "Learnt from totals alone, X-Gradient gives atoms numbers whose correlation with their true contributions is above "
    "0.5",
)
INTEGRATED = Claim(
    "molecules/integrated",
    BEYOND,
    "They go with the true contributions as well as Integrated Gradients (50 steps) of the twin does: the correlation "
    "is at most 0.02 lower",
)
INPUT_X_GRADIENT = Claim(
    "molecules/input x gradient", BEYOND, "They go with the true contributions better than input × gradient of the twin"
)
GRADIENT = Claim(
    "molecules/gradient", BEYOND, "They go with the true contributions better than the twin's absolute gradient"
)
COMPLETE = Claim(
    "molecules/complete",
    BEYOND,
    "Numbers of atoms add up to the prediction by X-Gradient, to 1e-5 of its spread, and not by input × gradient of "
    "the twin, which misses by more than 1 %",
)
STEPS = Claim(
    "molecules/steps",
    BEYOND,
    "The twin's Integrated Gradients need several steps for an error of 1 %, where X-Gradient needs one",
)
CLAIMS = (*AS_GOOD.values(), EXACT, TRUTH, INTEGRATED, INPUT_X_GRADIENT, GRADIENT, COMPLETE, STEPS)
