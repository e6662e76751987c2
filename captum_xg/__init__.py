"""Integrated Gradients in one forward and one backward pass, for networks with F(αx) = αF(x).

``import captum_xg`` imports nothing else: names and submodules are imported when they are first asked for.
"""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand
from captum_xg._version import __version__

if TYPE_CHECKING:
    from captum_xg import analysis as analysis
    from captum_xg import assets as assets
    from captum_xg import attr as attr
    from captum_xg import benchmark as benchmark
    from captum_xg import cli as cli
    from captum_xg import datasets as datasets
    from captum_xg import demo as demo
    from captum_xg import errors as errors
    from captum_xg import homogeneity as homogeneity
    from captum_xg import integrations as integrations
    from captum_xg import metrics as metrics
    from captum_xg import models as models
    from captum_xg import nn as nn
    from captum_xg import priors as priors
    from captum_xg import repro as repro
    from captum_xg import scan as scan
    from captum_xg import testing as testing
    from captum_xg import viewer as viewer
    from captum_xg import visualization as visualization
    from captum_xg import xdnn as xdnn

    # Attribution
    from captum_xg.attr import (
        AdaptiveIntegratedGradients,
        AdaptiveLayerIntegratedGradients,
        ExactIntegratedGradients,
        ExactReport,
        ExpectedXGradient,
        IntegrationReport,
        JointAttributions,
        JointXGradient,
        LayerXGradient,
        NeuronXGradient,
        StepsNeeded,
        XGradient,
    )

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

    # Whole data sets
    from captum_xg.scan import explain_dataset

    # X-DNNs
    from captum_xg.xdnn import (
        Conversion,
        ConversionReport,
        HomogeneousExtension,
        NotConvertible,
        Refusal,
        fine_tune,
        forget_conversion,
        register_conversion,
        to_xdnn,
    )
else:  # a test holds that these are the names above
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "attr": (
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
            ),
            "homogeneity": (
                "BiasLedger",
                "Certificate",
                "HomogeneityReport",
                "Violation",
                "bias_ledger",
                "certify",
                "check_homogeneity",
            ),
            "priors": ("AttributionPriorLoss", "PriorLoss"),
            "scan": ("explain_dataset",),
            "xdnn": (
                "Conversion",
                "ConversionReport",
                "HomogeneousExtension",
                "NotConvertible",
                "Refusal",
                "fine_tune",
                "forget_conversion",
                "register_conversion",
                "to_xdnn",
            ),
        },
    )

__all__ = [
    "AdaptiveIntegratedGradients",
    "AdaptiveLayerIntegratedGradients",
    "AttributionPriorLoss",
    "BiasLedger",
    "Certificate",
    "Conversion",
    "ConversionReport",
    "ExactIntegratedGradients",
    "ExactReport",
    "ExpectedXGradient",
    "HomogeneityReport",
    "HomogeneousExtension",
    "IntegrationReport",
    "JointAttributions",
    "JointXGradient",
    "LayerXGradient",
    "NeuronXGradient",
    "NotConvertible",
    "PriorLoss",
    "Refusal",
    "StepsNeeded",
    "Violation",
    "XGradient",
    "__version__",
    "bias_ledger",
    "certify",
    "check_homogeneity",
    "explain_dataset",
    "fine_tune",
    "forget_conversion",
    "register_conversion",
    "to_xdnn",
]
