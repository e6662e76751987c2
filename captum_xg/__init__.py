"""Integrated Gradients in one forward and one backward pass, for networks with F(αx) = αF(x)."""

from captum_xg._version import __version__

# Attribution
from captum_xg.attr.x_gradient import XGradient

# Homogeneity
from captum_xg.homogeneity import (
    BiasLedger,
    Certificate,
    HomogeneityReport,
    Violation,
    bias_ledger,
    certify,
    check_homogeneity,
)

# Attribution priors
from captum_xg.priors import AttributionPriorLoss, PriorLoss

# X-DNNs
from captum_xg.xdnn import (
    Conversion,
    ConversionReport,
    HomogeneousExtension,
    Refusal,
    fine_tune,
    forget_conversion,
    register_conversion,
    to_xdnn,
)

__all__ = [
    "AttributionPriorLoss",
    "BiasLedger",
    "Certificate",
    "Conversion",
    "ConversionReport",
    "HomogeneityReport",
    "HomogeneousExtension",
    "PriorLoss",
    "Refusal",
    "Violation",
    "XGradient",
    "__version__",
    "bias_ledger",
    "certify",
    "check_homogeneity",
    "fine_tune",
    "forget_conversion",
    "register_conversion",
    "to_xdnn",
]
