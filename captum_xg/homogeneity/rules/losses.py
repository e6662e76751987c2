"""Losses that PyTorch computes in one operation: sums or means of a function of predictions and targets."""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg.homogeneity.degree import CONSTANT, Reason, Scaling, power_of, product_of, quotient_of, selection_of
from captum_xg.homogeneity.rules.common import given, nonlinear_together
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule

_LOGITS = "Explain the logits instead"

_MEAN = 1  # at::Reduction::Mean


@degree_rule("mse_loss")
def squared_error(call: OpCall) -> Scaling:
    """Squares of differences."""
    return power_of(call.sum(call["self"], call["target"]), 2)


@degree_rule("smooth_l1_loss", "huber_loss")
def smoothed_error(call: OpCall) -> Scaling:
    """Squares of differences up to a fixed size, beyond it their magnitudes."""
    size = call["beta"] if "beta" in call.arguments else call["delta"]
    if size == 0 and "beta" in call.arguments:
        return call.sum(call["self"], call["target"])
    reason = Reason(f"changes from squares to magnitudes at {size:g}, which αx passes", "Use l1_loss or mse_loss")
    return nonlinear_together(*call.scalings("self", "target"), reason=reason, otherwise=1.0)


@degree_rule("nll_loss_forward", "nll_loss2d_forward")
def selected_score(call: OpCall) -> Sequence[Scaling]:
    """The scores of the targets, times their weights, of which a mean is divided by the sum; with that sum."""
    weight = CONSTANT if call["weight"] is None else call.scaling("weight")
    loss = selection_of(call.scaling("target"), product_of(call.scaling("self"), weight))
    return quotient_of(loss, weight) if call["reduction"] == _MEAN else loss, weight


@degree_rule(
    *("binary_cross_entropy", "binary_cross_entropy_with_logits", "soft_margin_loss"),
)
def logarithmic_loss(call: OpCall) -> Scaling:
    """Logarithms of probabilities, or of sums of exponentials."""
    reason = Reason("takes logarithms of probabilities, which do not scale", _LOGITS)
    return nonlinear_together(*given(call), reason=reason)


@degree_rule("multi_margin_loss", "multilabel_margin_loss_forward")
def margin_loss(call: OpCall) -> Scaling:
    """Compares differences of scores with a fixed margin."""
    reason = Reason("compares with a fixed margin, which αx passes", _LOGITS)
    return nonlinear_together(*given(call), reason=reason, otherwise=1.0)
