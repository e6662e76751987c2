"""Assembly of a result from what each method gave on each batch: values, intervals, curves and costs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from captum_xg.benchmark.bootstrap import estimate, resample
from captum_xg.benchmark.findings import Cost, Curve, MethodResult
from captum_xg.benchmark.methods import Method
from captum_xg.benchmark.metrics import BenchmarkMetric
from captum_xg.benchmark.result import BenchmarkResult
from captum_xg.benchmark.store import Part


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
        metrics={m.name: m.info for m in metrics},
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
