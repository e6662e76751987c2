"""Metrics of attributions: torchmetrics that accumulate over a loader and over processes."""

from typing import TYPE_CHECKING

from captum_xg._core.estimate import Estimate
from captum_xg._core.loading import on_demand
from captum_xg.metrics.agreement import MeanAbsoluteRelativeDifference
from captum_xg.metrics.axioms.methods import paper_methods
from captum_xg.metrics.axioms.report import axiom_report
from captum_xg.metrics.axioms.results import AxiomReport, AxiomResult
from captum_xg.metrics.captum_metrics import Infidelity, MaxSensitivity
from captum_xg.metrics.collection import AttributionMetricCollection
from captum_xg.metrics.completeness import CompletenessGap
from captum_xg.metrics.masking.metrics import KeepAbsoluteMask, KeepNegativeMask, KeepPositiveMask, RemoveAbsoluteMask
from captum_xg.metrics.perturbations import GaussianNoise, RandomRemoval, UniformNoise
from captum_xg.metrics.sampling import UnpaddedDistributedSampler
from captum_xg.metrics.sensitivity_n import SensitivityN

if TYPE_CHECKING:
    from captum_xg.benchmark.benchmark import AttributionBenchmark
    from captum_xg.benchmark.result import BenchmarkResult
else:  # the benchmark stands above the metrics, and is handed on from here
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "captum_xg.benchmark.benchmark": ("AttributionBenchmark",),
            "captum_xg.benchmark.result": ("BenchmarkResult",),
        },
    )

__all__ = [
    "AttributionBenchmark",
    "AttributionMetricCollection",
    "AxiomReport",
    "AxiomResult",
    "BenchmarkResult",
    "CompletenessGap",
    "Estimate",
    "GaussianNoise",
    "Infidelity",
    "KeepAbsoluteMask",
    "KeepNegativeMask",
    "KeepPositiveMask",
    "MaxSensitivity",
    "MeanAbsoluteRelativeDifference",
    "RandomRemoval",
    "RemoveAbsoluteMask",
    "SensitivityN",
    "UniformNoise",
    "UnpaddedDistributedSampler",
    "axiom_report",
    "paper_methods",
]
