"""What the paper says about the cost of training with attribution priors, and what we add."""

from __future__ import annotations

from captum_xg.repro.section import BEYOND, Claim

_B3 = "Appendix B.3"
_SECONDS = "averaged over 100100100 iterations, is 1.121.121.12 s for Expected Gradients and 0.0086 for"
_BYTES = "When using Expected Gradients for training, the GPU memory usage is 14.5714.5714.57 GB while for"
_BYTES_XG = "the memory usage is 4.214.214.21 GB"
_TIMES = (
    "130similar-toabsent130\\sim 130 times more computation time and 3.46similar-toabsent3.46\\sim 3.46 times more GPU "
    "memory."
)

SLOWER = Claim(
    "cost/slower",
    "Table 1, Section 4.3",
    "A training step with Expected Gradients (32 references) takes more than ten times as long as one with X-Gradient",
    "one to two orders of magnitude",
    (
        "induce one to two orders of magnitude of computational overhead compared to the methods",
        "would turn several days of training into several months of training",
    ),
)
TIMES = Claim(
    "cost/times",
    f"Section 4.3, {_B3}",
    "Expected Gradients with 32 references takes about 130 times as long as X-Gradient",
    "~ 130 ×",
    (_TIMES, "amounts to an approximately 130130130-fold increase in the required computation time"),
)
SECONDS_EG = Claim("cost/seconds EG", _B3, "A step with Expected Gradients takes 1.12 s", "1.12 s", (_SECONDS,))
SECONDS_XG = Claim("cost/seconds XG", _B3, "A step with X-Gradient takes 0.0086 s", "0.0086 s", (_SECONDS,))
LARGER = Claim(
    "cost/larger",
    _B3,
    "Expected Gradients with 32 references needs several times the memory of X-Gradient",
    "~ 3.46 ×",
    (_TIMES,),
)
BYTES_TIMES = Claim(
    "cost/bytes times", _B3, "Expected Gradients needs about 3.46 times the memory", "~ 3.46 ×", (_TIMES,)
)
BYTES_EG = Claim("cost/bytes EG", _B3, "A step with Expected Gradients needs 14.57 GB", "14.57 GB", (_BYTES,))
BYTES_XG = Claim("cost/bytes XG", _B3, "A step with X-Gradient needs 4.21 GB", "4.21 GB", (_BYTES_XG,))

ARITHMETIC = Claim(
    "cost/arithmetic",
    BEYOND,
    "In arithmetic a step with X-Gradient costs 2 plain steps, and one with Expected Gradients (k references) 1 + 2k",
)
BATCHED = Claim(
    "cost/batched",
    BEYOND,
    "It is not the loop: with all references in one batch, Expected Gradients takes more than ten times as long still",
)
FRUGAL = Claim(
    "cost/frugal",
    BEYOND,
    "Its memory is not needed: with one graph at a time, for a third more arithmetic, Expected Gradients needs less "
    "than twice what X-Gradient needs",
)
SAME = Claim(
    "cost/same", BEYOND, "One batch, a loop and one graph at a time are ways to the same gradient of the parameters"
)

CLAIMS = (
    *(SLOWER, TIMES, SECONDS_EG, SECONDS_XG, LARGER, BYTES_TIMES, BYTES_EG, BYTES_XG),
    *(ARITHMETIC, BATCHED, FRUGAL, SAME),
)
