"""Attributions that a prior can be put on, by the names that ``AttributionPriorLoss`` knows them by."""

from captum_xg.priors.attributions.base import Attribution, Batch
from captum_xg.priors.attributions.foreign import Foreign
from captum_xg.priors.attributions.one_pass import Gradient, InputXGradient, LogProbabilityGradient, XGradientOfPass
from captum_xg.priors.attributions.sampled import ExpectedGradients, IntegratedGradients

ATTRIBUTIONS: dict[str, type[Attribution]] = {
    "xgradient": XGradientOfPass,
    "input_x_gradient": InputXGradient,
    "gradient": Gradient,
    "rrr": LogProbabilityGradient,
    "expected_gradients": ExpectedGradients,
    "integrated_gradients": IntegratedGradients,
}

__all__ = ["ATTRIBUTIONS", "Attribution", "Batch", "Foreign"]
