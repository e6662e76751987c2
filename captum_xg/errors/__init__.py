"""The errors and the warning of captum_xg: one base, one class per kind of problem.

Those that carry a report are defined beside it, and imported when they are first asked for.
"""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand
from captum_xg.errors.base import (
    BaselineError,
    CaptumXGError,
    CheckpointError,
    CrossExampleError,
    DegreeError,
    DisconnectedAttributionError,
    FileError,
    ForwardOutputError,
    GradientError,
    InputError,
    MissingPackageError,
    ModelStateError,
    NondeterministicForwardError,
    NonFinitePriorError,
    OptionError,
    OptionTypeError,
    PriorError,
    PriorOutputError,
    TargetError,
    TrainingModeError,
)

if TYPE_CHECKING:
    from captum_xg.attr.adaptive.report import IntegrationWarning
    from captum_xg.attr.exact.errors import NotPiecewiseLinearError, RegionLimitError
    from captum_xg.attr.integrated import IntegrationNotice
    from captum_xg.homogeneity.check.report import HomogeneityError, HomogeneityWarning
    from captum_xg.scan.errors import ExampleError
    from captum_xg.xdnn.report import ConversionError
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "captum_xg.attr.adaptive.report": ("IntegrationWarning",),
            "captum_xg.attr.exact.errors": ("NotPiecewiseLinearError", "RegionLimitError"),
            "captum_xg.attr.integrated": ("IntegrationNotice",),
            "captum_xg.homogeneity.check.report": ("HomogeneityError", "HomogeneityWarning"),
            "captum_xg.scan.errors": ("ExampleError",),
            "captum_xg.xdnn.report": ("ConversionError",),
        },
    )

__all__ = [
    "BaselineError",
    "CaptumXGError",
    "CheckpointError",
    "ConversionError",
    "CrossExampleError",
    "DegreeError",
    "DisconnectedAttributionError",
    "ExampleError",
    "FileError",
    "ForwardOutputError",
    "GradientError",
    "HomogeneityError",
    "HomogeneityWarning",
    "InputError",
    "IntegrationNotice",
    "IntegrationWarning",
    "MissingPackageError",
    "ModelStateError",
    "NonFinitePriorError",
    "NondeterministicForwardError",
    "NotPiecewiseLinearError",
    "OptionError",
    "OptionTypeError",
    "PriorError",
    "PriorOutputError",
    "RegionLimitError",
    "TargetError",
    "TrainingModeError",
]
