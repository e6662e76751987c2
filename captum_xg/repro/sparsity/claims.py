"""What the paper says about Figure 1. Its means are from the result files released with it."""

from __future__ import annotations

from captum_xg.repro.section import Claim
from captum_xg.repro.sparsity.results import PAPER

_WINS = "outperforms all other competing methods"


def _claim(key: str, says: str, quote: str = "", printed: str = "", source: str = "Figure 1") -> Claim:
    return Claim(f"figure1/{key}", source, says, printed, (quote,) if quote else ())


BEATS = {
    "unregularised": _claim("unregularised", "X-Gradient outperforms training without a prior", _WINS),
    "rrr": _claim("rrr", "X-Gradient outperforms RRR", _WINS),
    "gradient": _claim("gradient", "X-Gradient outperforms the gradient", _WINS),
    "eg1": _claim("eg1", "X-Gradient outperforms Expected Gradients with one reference", _WINS),
}
"""By key of the method that X-Gradient outperforms."""
BIAS = _claim(
    "bias",
    "removing the biases has almost no effect on networks without a prior",
    "removing the bias (Unreg w/o bias) has almost no effect on the average ROC-AUC of the method",
)
MATCH = _claim(
    "match",
    "Expected Gradients need about 32 references to match X-Gradient",
    "approximately 32 reference samples are needed",
    "32",
)
MORE = _claim(
    "more",
    "with more than 32 references Expected Gradients slightly outperform X-Gradient",
    "When using more than 32 reference samples, Expected Gradients slightly outperform our method in terms of ROC-AUC",
    "more than 32",
)
SAMPLES = _claim(
    "samples",
    "more references improve Expected Gradients",
    "adding more samples improves the ROC-AUC when training with an EG attribution in the prior",
)
_STRENGTHS = "an individual hyperparameter search to find the optimal regularization strength"
STRENGTHS = {
    key: _claim(f"strength_{key}", f"the best λ of {name} is {value:g}", _STRENGTHS, source="Appendix B.3")
    for key, name, value in (
        ("rrr", "RRR", 0.1),
        ("gradient", "the gradient", 0.1),
        ("eg1", "Expected Gradients", 1.0),
        ("xgradient_nobias", "X-Gradient", 1.0),
    )
}
"""By key of the method; the numbers themselves stand between formulas that are no text."""
MEANS = {
    key: _claim(
        f"mean_{key}", f"mean test ROC-AUC of {name}", printed=f"{PAPER[key]:.4f}", source="Figure 1, released results"
    )
    for key, name in (
        ("unregularised", "networks without a prior"),
        ("unregularised_nobias", "networks without a prior and without biases"),
        ("xgradient_nobias", "X-Gradient"),
        ("eg1", "Expected Gradients with one reference"),
        ("eg32", "Expected Gradients with 32 references"),
    )
}
CLAIMS = (*BEATS.values(), BIAS, MATCH, MORE, SAMPLES, *STRENGTHS.values(), *MEANS.values())
