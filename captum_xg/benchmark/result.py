"""The result of a benchmark: numbers with intervals, curves and costs, and their differences, tables and figures."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from captum_xg._core.estimate import Estimate
from captum_xg._core.files import write_text
from captum_xg._core.text import Table, displayed
from captum_xg.benchmark import figure, table
from captum_xg.benchmark.bootstrap import estimate
from captum_xg.benchmark.findings import Findings, MethodResult, MetricInfo
from captum_xg.errors import OptionError
from captum_xg.metrics.protocols import ScoresExamples

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@displayed
@dataclass(frozen=True)
class BenchmarkResult(Findings):
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

    # Those of `Findings`, again, so that documentation of this class lists all of its fields.
    methods: dict[str, MethodResult]
    metrics: dict[str, MetricInfo]
    n_examples: int
    resamples: int
    seed: int
    reference: str | None
    scores: dict[tuple[str, str], Tensor] = field(repr=False, compare=False)
    _resampled: dict[tuple[str, str], Tensor] = field(repr=False, compare=False)

    def difference(self, method: str, other: str, metric: str | ScoresExamples) -> Estimate:
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

    def to_dict(self) -> dict[str, object]:
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
        return table.parts(self)

    def to_markdown(self) -> str:
        """Return the table in Markdown, with its notes."""
        return table.markdown(self)

    def to_latex(self) -> str:
        """Return the table as a LaTeX tabular, for the package booktabs."""
        return table.latex(self)

    def to_dataframe(self) -> Any:  # pandas need not be installed
        """Return a pandas DataFrame with a row per method; METRIC_low and METRIC_high are the ends of intervals.

        Raises:
            OptionError: If pandas is not installed.
        """
        return table.dataframe(self)

    def plot_curves(self, metrics: Sequence[str | ScoresExamples] | None = None) -> Figure:
        """Return a figure with a panel per metric that is an area under a curve, and a line per method.

        Args:
            metrics: Which; by default all that have curves.

        Raises:
            OptionError: If a metric has no curve, or none has.
        """
        return figure.draw_curves(self, None if metrics is None else [self._metric_name(metric) for metric in metrics])

    def plot_cost_quality(
        self, metrics: Sequence[str | ScoresExamples] | None = None, *, cost: str = "seconds"
    ) -> Figure:
        """Return a figure with a panel per metric: what each method costs, and how good it is.

        Args:
            metrics: Which; by default all.
            cost: ``"seconds"``, ``"gradient_evaluations"`` or ``"forward_passes"``, per example.

        Raises:
            OptionError: If there is no such metric or cost.
        """
        names = list(self.metrics) if metrics is None else [self._metric_name(metric) for metric in metrics]
        return figure.draw_cost_quality(self, names, cost)

    def _metric_name(self, metric: str | ScoresExamples) -> str:
        wanted = metric if isinstance(metric, str) else type(metric).__name__
        for each in self.metrics.values():
            if wanted in (each.name, each.short):
                return each.name
        raise OptionError(f"BenchmarkResult: there is no metric {wanted!r} here, only {', '.join(self.metrics)}.")


def _method_dict(method: MethodResult) -> dict[str, object]:
    found = asdict(method)
    del found["name"]
    if method.cost is not None:
        found["cost"]["peak_memory_bytes"] = found["cost"].pop("peak_memory")
    return {key: _plain(value) for key, value in found.items()}


def _plain(value: object) -> object:
    """Return numbers as JSON knows them, all the way down."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else "inf" if value > 0 else "-inf"
