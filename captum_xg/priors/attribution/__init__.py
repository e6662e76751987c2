"""Attributions that a prior can be put on, by the names that ``AttributionPriorLoss`` knows them by."""

from captum_xg.priors.attribution.base import Attribution, Batch
from captum_xg.priors.attribution.custom import Foreign
from captum_xg.priors.attribution.one_pass import Gradient, InputXGradient, LogProbabilityGradient, XGradientOfPass
from captum_xg.priors.attribution.sampled import ExpectedGradients, IntegratedGradients

ATTRIBUTIONS: dict[str, type[Attribution]] = {
    "xgradient": XGradientOfPass,
    "input_x_gradient": InputXGradient,
    "gradient": Gradient,
    "rrr": LogProbabilityGradient,
    "expected_gradients": ExpectedGradients,
    "integrated_gradients": IntegratedGradients,
}

__all__ = ["ATTRIBUTIONS", "Attribution", "Batch", "Foreign"]
