"""Integrated Gradients without error, of piecewise linear networks and for any baseline."""

from captum_xg.attr.exact.errors import NotPiecewiseLinearError, RegionLimitError
from captum_xg.attr.exact.exact_integrated_gradients import ExactIntegratedGradients
from captum_xg.attr.exact.report import ExactReport, Line
from captum_xg.attr.exact.steps import StepsNeeded

__all__ = [
    "ExactIntegratedGradients",
    "ExactReport",
    "Line",
    "NotPiecewiseLinearError",
    "RegionLimitError",
    "StepsNeeded",
]
