"""Captum's private helpers: the one place that imports them, so that a change in Captum is met here."""

from captum._utils.common import _select_targets as select_targets
from captum._utils.gradient import compute_gradients
from captum.attr import GradientAttribution, LayerAttribution, NeuronAttribution
from captum.attr._core.integrated_gradients import IntegratedGradients
from captum.attr._core.layer.layer_integrated_gradients import LayerIntegratedGradients
from captum.attr._core.neuron.neuron_integrated_gradients import NeuronIntegratedGradients
from captum.attr._utils.approximation_methods import SUPPORTED_METHODS, approximation_parameters
from captum.log import log_usage

__all__ = [
    "SUPPORTED_METHODS",
    "GradientAttribution",
    "IntegratedGradients",
    "LayerAttribution",
    "LayerIntegratedGradients",
    "NeuronAttribution",
    "NeuronIntegratedGradients",
    "approximation_parameters",
    "compute_gradients",
    "log_usage",
    "select_targets",
]
