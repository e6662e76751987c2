"""Integrated Gradients in one forward and one backward pass, for networks with F(αx) = αF(x)."""

from captum_xg._version import __version__

# Attribution
from captum_xg.attr.x_gradient import XGradient

# Homogeneity
from captum_xg.homogeneity.numeric import check_homogeneity
from captum_xg.homogeneity.report import HomogeneityReport

__all__ = ["HomogeneityReport", "XGradient", "__version__", "check_homogeneity"]
