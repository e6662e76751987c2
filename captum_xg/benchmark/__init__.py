"""Attribution methods through metrics over a data loader, as one table with confidence intervals."""

from captum_xg._core.estimate import Estimate
from captum_xg.benchmark.benchmark import AttributionBenchmark
from captum_xg.benchmark.result import BenchmarkResult

__all__ = ["AttributionBenchmark", "BenchmarkResult", "Estimate"]
