"""Is F(αx) = αᵏF(x)? The numeric check and its report."""

from captum_xg.homogeneity.numeric import check_homogeneity
from captum_xg.homogeneity.report import Culprit, EulerCheck, HomogeneityReport, ScaleCheck, UnusedScale

__all__ = ["Culprit", "EulerCheck", "HomogeneityReport", "ScaleCheck", "UnusedScale", "check_homogeneity"]
