"""Integrated Gradients to a tolerance, for any model and any baseline."""

from captum_xg.attr.adaptive.adaptive_integrated_gradients import AdaptiveIntegratedGradients
from captum_xg.attr.adaptive.adaptive_layer_integrated_gradients import AdaptiveLayerIntegratedGradients
from captum_xg.attr.adaptive.report import IntegrationReport, IntegrationWarning

__all__ = ["AdaptiveIntegratedGradients", "AdaptiveLayerIntegratedGradients", "IntegrationReport", "IntegrationWarning"]
