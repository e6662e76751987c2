"""Attribution methods with Captum's interface."""

from captum_xg.attr.adaptive import AdaptiveIntegratedGradients, IntegrationReport
from captum_xg.attr.x_gradient import XGradient

__all__ = ["AdaptiveIntegratedGradients", "IntegrationReport", "XGradient"]
