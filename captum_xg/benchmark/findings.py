"""The numbers of a benchmark as plain data, which tables and figures are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from captum_xg._core.estimate import Estimate
from captum_xg._core.text import displayed


@displayed
@dataclass(frozen=True)
class Cost:
    """What a method costs, counted while it ran.

    Attributes:
        gradient_evaluations: Per example; None if the runs of the model could not be seen.
        forward_passes: Per example, those that gradients are taken of included; None likewise.
        seconds: Per example, the median over batches.
        peak_memory: Bytes beyond those in use before, the largest of the batches; None if not measured, as on a CPU.
    """

    gradient_evaluations: float | None
    forward_passes: float | None
    seconds: float
    peak_memory: int | None


@displayed
@dataclass(frozen=True)
class Curve:
    """A metric that is an area under a curve, as the curve.

    Attributes:
        fractions: Where it was evaluated.
        values: The mean over examples at each, with its interval.
    """

    fractions: tuple[float, ...]
    values: tuple[Estimate, ...]


@displayed
@dataclass(frozen=True)
class MetricInfo:
    """A metric of the benchmark.

    Attributes:
        name: As in ``estimates``.
        short: In tables.
        higher_is_better: Which way is better; None if the metric does not say.
        unit: What its curve shows, or its value where it has none; empty if the metric does not say.
    """

    name: str
    short: str
    higher_is_better: bool | None
    unit: str = ""


@displayed
@dataclass(frozen=True)
class MethodResult:
    """What one method gave.

    Attributes:
        name: Of the method.
        control: Whether it ignores the model.
        cost: Of its attributions; None if it refused.
        estimates: Metric → number with interval; empty if it refused.
        curves: Metric → curve, for metrics that have one.
        refusal: Why it gave no attributions; None if it did.
    """

    name: str
    control: bool
    cost: Cost | None
    estimates: dict[str, Estimate]
    curves: dict[str, Curve]
    refusal: str | None


@dataclass(frozen=True)
class Findings:
    """Everything that tables and figures show; see :class:`captum_xg.metrics.BenchmarkResult`."""

    methods: dict[str, MethodResult]
    metrics: dict[str, MetricInfo]
    n_examples: int
    resamples: int
    seed: int
    reference: str | None

    @property
    def measured_memory(self) -> bool:
        """Whether memory was measured, as on accelerators."""
        return any(each.cost is not None and each.cost.peak_memory is not None for each in self.methods.values())
