"""Conversion of ordinary models to X-DNNs: exact where it can be, by rule elsewhere, and proven afterwards."""

from captum_xg.xdnn.convert import to_xdnn
from captum_xg.xdnn.extension import HomogeneousExtension
from captum_xg.xdnn.fine_tuning import fine_tune
from captum_xg.xdnn.how_far import Distance, distance
from captum_xg.xdnn.registry import (
    Conversion,
    ModuleContext,
    NotConvertible,
    Place,
    Refusal,
    forget_conversion,
    register_conversion,
)
from captum_xg.xdnn.report import Change, ConversionReport, Unconverted

__all__ = [
    "Change",
    "Conversion",
    "ConversionReport",
    "Distance",
    "HomogeneousExtension",
    "ModuleContext",
    "NotConvertible",
    "Place",
    "Refusal",
    "Unconverted",
    "distance",
    "fine_tune",
    "forget_conversion",
    "register_conversion",
    "to_xdnn",
]
