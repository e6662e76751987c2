"""Attributions that a prior can be put on, by the names that ``AttributionPriorLoss`` knows them by."""

from captum_xg.priors.attribution import joint, one_pass, sampled  # noqa: F401  they register themselves
from captum_xg.priors.attribution.base import ATTRIBUTIONS, Attribution, Batch, forget_attribution, register_attribution
from captum_xg.priors.attribution.choice import CustomAttribution, attribution_of

__all__ = [
    "ATTRIBUTIONS",
    "Attribution",
    "Batch",
    "CustomAttribution",
    "attribution_of",
    "forget_attribution",
    "register_attribution",
]
