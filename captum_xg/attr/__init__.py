"""Attribution methods with Captum's interface."""

from captum_xg.attr.adaptive import AdaptiveIntegratedGradients, AdaptiveLayerIntegratedGradients, IntegrationReport
from captum_xg.attr.exact import ExactIntegratedGradients, ExactReport, StepsNeeded
from captum_xg.attr.expected_x_gradient import ExpectedXGradient
from captum_xg.attr.joint import JointAttributions, JointXGradient
from captum_xg.attr.layer_x_gradient import LayerXGradient
from captum_xg.attr.neuron_x_gradient import NeuronXGradient
from captum_xg.attr.x_gradient import XGradient

__all__ = [
    "AdaptiveIntegratedGradients",
    "AdaptiveLayerIntegratedGradients",
    "ExactIntegratedGradients",
    "ExactReport",
    "ExpectedXGradient",
    "IntegrationReport",
    "JointAttributions",
    "JointXGradient",
    "LayerXGradient",
    "NeuronXGradient",
    "StepsNeeded",
    "XGradient",
]
