"""Metrics of attributions: torchmetrics that accumulate over a loader and over processes."""

from captum_xg.metrics.agreement import MeanAbsoluteRelativeDifference
from captum_xg.metrics.axiom_methods import paper_methods
from captum_xg.metrics.axiom_results import AxiomReport, AxiomResult
from captum_xg.metrics.axioms import axiom_report
from captum_xg.metrics.benchmark import AttributionBenchmark
from captum_xg.metrics.benchmark_bootstrap import Estimate
from captum_xg.metrics.benchmark_result import BenchmarkResult
from captum_xg.metrics.captum_metrics import Infidelity, MaxSensitivity
from captum_xg.metrics.completeness import CompletenessGap
from captum_xg.metrics.masking import KeepAbsoluteMask, KeepNegativeMask, KeepPositiveMask, RemoveAbsoluteMask
from captum_xg.metrics.perturbations import GaussianNoise, RandomRemoval, UniformNoise
from captum_xg.metrics.sampling import UnpaddedDistributedSampler
from captum_xg.metrics.sensitivity_n import SensitivityN

__all__ = [
    "AttributionBenchmark",
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
