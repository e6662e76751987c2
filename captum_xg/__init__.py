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

__all__ = [
    "BiasLedger",
    "Certificate",
    "HomogeneityReport",
    "Violation",
    "XGradient",
    "__version__",
    "bias_ledger",
    "certify",
    "check_homogeneity",
]
