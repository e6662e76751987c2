"""What a benchmark found: numbers with intervals, curves and costs, as tables, JSON and figures."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum_xg._core.estimate import Estimate
from captum_xg._core.files import write_text
from captum_xg._core.text import Table, displayed
from captum_xg.benchmark.bootstrap import estimate, resample
from captum_xg.benchmark.methods import Method
from captum_xg.benchmark.metrics import BenchmarkMetric
from captum_xg.benchmark.store import Part
from captum_xg.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        control: Whether it knows nothing of the model.
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


@displayed
@dataclass(frozen=True)
class BenchmarkResult:
    """The result of :meth:`captum_xg.metrics.AttributionBenchmark.run`; ``print`` it.

    Attributes:
        methods: Name → what it gave, in the order asked for; controls that were not asked for come last.
        metrics: Name → what it is.
        n_examples: How many examples were evaluated.
        resamples: Of the bootstrap.
        seed: Of random attributions, references and the bootstrap.
        reference: The method that comparing metrics compare with; None if there is no such metric.
        scores: (method, metric) → values per example, in the order of the loader.
    """

    methods: dict[str, MethodResult]
    metrics: dict[str, MetricInfo]
    n_examples: int
    resamples: int
    seed: int
    reference: str | None
    scores: dict[tuple[str, str], Tensor] = field(repr=False, compare=False)
    _resampled: dict[tuple[str, str], Tensor] = field(repr=False, compare=False)

    def difference(self, method: str, other: str, metric: Any) -> Estimate:
        """Return the value of one method minus that of another, with the interval of the paired difference.

        Both are resampled with the same examples, so what makes an example hard for every method cancels.

        Args:
            method: A name.
            other: The name of the one to subtract.
            metric: A metric's name, short name or instance.

        Raises:
            OptionError: If there is no such method or metric, or a method refused.
        """
        name = self._metric_name(metric)
        for each in (method, other):
            if each not in self.methods:
                raise OptionError(
                    f"BenchmarkResult.difference: there is no method {each!r} here, only {', '.join(self.methods)}."
                )
            if self.methods[each].refusal is not None:
                raise OptionError(f"BenchmarkResult.difference: {each} refused: {self.methods[each].refusal}")
        first, second = (self.methods[each].estimates[name].value for each in (method, other))
        return estimate(first - second, self._resampled[method, name] - self._resampled[other, name])

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers but those per example, of types that JSON knows; NaN is None, infinity a string."""
        return {
            "n_examples": self.n_examples,
            "resamples": self.resamples,
            "confidence": 0.95,
            "seed": self.seed,
            "reference": self.reference,
            "metrics": {
                m.name: {"short": m.short, "higher_is_better": m.higher_is_better} for m in self.metrics.values()
            },
            "methods": {each.name: _method_dict(each) for each in self.methods.values()},
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Return :meth:`to_dict` as JSON, and write it to a file if a path is given."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        if path is not None:
            write_text(path, text + "\n")
        return text

    def _parts(self) -> list[str | Table]:
        from captum_xg.benchmark.table import parts

        return parts(self)

    def to_markdown(self) -> str:
        """Return the table in Markdown, and what is to be said about it."""
        from captum_xg.benchmark.table import markdown

        return markdown(self)

    def to_latex(self) -> str:
        """Return the table as a LaTeX tabular, for the package booktabs."""
        from captum_xg.benchmark.table import latex

        return latex(self)

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with a row per method; METRIC_low and METRIC_high are the ends of intervals.

        Raises:
            OptionError: If pandas is not installed.
        """
        from captum_xg.benchmark.table import dataframe

        return dataframe(self)

    def plot_curves(self, metrics: Sequence[Any] | None = None) -> Figure:
        """Return a figure with a panel per metric that is an area under a curve, and a line per method.

        Args:
            metrics: Which; by default all that have curves.

        Raises:
            OptionError: If a metric has no curve, or none has.
        """
        from captum_xg.benchmark.figure import draw_curves

        return draw_curves(self, None if metrics is None else [self._metric_name(metric) for metric in metrics])

    def plot_cost_quality(self, metrics: Sequence[Any] | None = None, *, cost: str = "seconds") -> Figure:
        """Return a figure with a panel per metric: what each method costs, and how good it is.

        Args:
            metrics: Which; by default all.
            cost: ``"seconds"``, ``"gradient_evaluations"`` or ``"forward_passes"``, per example.

        Raises:
            OptionError: If there is no such metric or cost.
        """
        from captum_xg.benchmark.figure import draw_cost_quality

        names = list(self.metrics) if metrics is None else [self._metric_name(metric) for metric in metrics]
        return draw_cost_quality(self, names, cost)

    def _metric_name(self, metric: Any) -> str:
        wanted = metric if isinstance(metric, str) else type(metric).__name__
        for each in self.metrics.values():
            if wanted in (each.name, each.short):
                return each.name
        raise OptionError(f"BenchmarkResult: there is no metric {wanted!r} here, only {', '.join(self.metrics)}.")


def result_of(
    parts: Mapping[tuple[int, str], Part],
    methods: Sequence[Method],
    metrics: Sequence[BenchmarkMetric],
    *,
    resamples: int,
    seed: int,
    reference: str,
) -> BenchmarkResult:
    """Put the parts of all batches together.

    Args:
        parts: (batch, method) → what that method gave on that batch.
        methods: In the order of the table.
        metrics: In the order of the table.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        reference: The method that comparing metrics compare with.
    """
    order = sorted({index for index, _ in parts})
    of = {method.name: [parts[index, method.name] for index in order] for method in methods}
    refusals = {name: next((p.refusal for p in given if p.refusal is not None), None) for name, given in of.items()}
    scores = {
        (method.name, metric.name): torch.cat([part.scores[metric.name] for part in of[method.name]])
        for method in methods
        if refusals[method.name] is None
        for metric in metrics
    }
    aggregates = {key: next(m.metric.aggregate for m in metrics if m.name == key[1]) for key in scores}
    with torch.no_grad():
        of_mean = {key for key in scores if next(m.of_mean for m in metrics if m.name == key[1])}
        resampled = resample(scores, aggregates, resamples=resamples, seed=seed, of_mean=of_mean)
        values = {key: float(aggregates[key](each.double())) for key, each in scores.items()}
    curves = _curves(scores, metrics, resamples=resamples, seed=seed)
    found = {
        method.name: MethodResult(
            name=method.name,
            control=method.control,
            cost=_cost(of[method.name]) if refusals[method.name] is None else None,
            estimates={
                m.name: estimate(values[k], resampled[k]) for m in metrics if (k := (method.name, m.name)) in values
            },
            curves={m.name: curves[k] for m in metrics if (k := (method.name, m.name)) in curves},
            refusal=refusals[method.name],
        )
        for method in methods
    }
    return BenchmarkResult(
        methods=found,
        metrics={m.name: MetricInfo(m.name, m.short, m.higher_is_better, m.unit) for m in metrics},
        n_examples=sum(part.n for part in of[methods[0].name]),
        resamples=resamples,
        seed=seed,
        reference=reference if any(metric.compares for metric in metrics) else None,
        scores=scores,
        _resampled=resampled,
    )


def _cost(parts: Sequence[Part]) -> Cost:
    n = sum(part.n for part in parts)

    def per_example(counts: Sequence[int | None]) -> float | None:
        known = [count for count in counts if count is not None]
        return sum(known) / n if len(known) == len(counts) else None

    memory = [part.peak_memory for part in parts if part.peak_memory is not None]
    return Cost(
        gradient_evaluations=per_example([part.gradient_evaluations for part in parts]),
        forward_passes=per_example([part.forward_passes for part in parts]),
        seconds=statistics.median(part.seconds / part.n for part in parts),
        peak_memory=max(memory) if memory else None,
    )


def _curves(
    scores: Mapping[tuple[str, str], Tensor], metrics: Sequence[BenchmarkMetric], *, resamples: int, seed: int
) -> dict[tuple[str, str], Curve]:
    fractions = {metric.name: metric.fractions for metric in metrics}
    curved = {
        key: each.double()
        for key, each in scores.items()
        if (at := fractions[key[1]]) is not None and each.dim() == 2 and each.shape[1] == len(at)
    }
    columns = {(key, i): each[:, i] for key, each in curved.items() for i in range(each.shape[1])}
    resampled = resample(columns, dict.fromkeys(columns, torch.mean), resamples=resamples, seed=seed, of_mean=columns)
    found = {}
    for key, each in curved.items():
        means = each.mean(0).tolist()
        points = tuple(estimate(mean, resampled[key, i]) for i, mean in enumerate(means))
        found[key] = Curve(fractions[key[1]] or (), points)
    return found


def _method_dict(method: MethodResult) -> dict[str, Any]:
    cost = method.cost
    return {
        "control": method.control,
        "refusal": method.refusal,
        "estimates": {name: _estimate_dict(each) for name, each in method.estimates.items()},
        "curves": {
            name: {"fractions": list(curve.fractions), "values": [_estimate_dict(v) for v in curve.values]}
            for name, curve in method.curves.items()
        },
        "cost": None
        if cost is None
        else {
            "gradient_evaluations": cost.gradient_evaluations,
            "forward_passes": cost.forward_passes,
            "seconds": cost.seconds,
            "peak_memory_bytes": cost.peak_memory,
        },
    }


def _estimate_dict(each: Estimate) -> dict[str, float | str | None]:
    return {"value": _plain(each.value), "low": _plain(each.low), "high": _plain(each.high)}


def _plain(number: float) -> float | str | None:
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else ("inf" if number > 0 else "-inf")
