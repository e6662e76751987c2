"""The metrics of a benchmark: by name or as instances, and how each of them wants to be asked."""

from __future__ import annotations

import copy
import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torchmetrics import Metric

from captum_xg.benchmark.data import Batch
from captum_xg.benchmark.methods import Method
from captum_xg.errors import OptionError, OptionTypeError

WHERE = "AttributionBenchmark"
DEFAULT_METRICS = ("KeepPositiveMask", "KeepNegativeMask", "KeepAbsoluteMask", "RemoveAbsoluteMask")
SHORT = {
    "KeepPositiveMask": "KPM",
    "KeepNegativeMask": "KNM",
    "KeepAbsoluteMask": "KAM",
    "RemoveAbsoluteMask": "RAM",
    "MeanAbsoluteRelativeDifference": "MARD",
}
"""As in the tables of Hesse et al. 2021."""


@dataclass(frozen=True)
class BenchmarkMetric:
    """A metric and how it is asked.

    Attributes:
        name: In results.
        metric: The instance; only its ``scores`` and ``aggregate`` are used.
        compares: Whether it compares attributions with those of a reference method and does not see the model.
        attributes: Whether it attributes itself, and so must be given each method in turn.
    """

    name: str
    metric: Any
    compares: bool
    attributes: bool

    @property
    def higher_is_better(self) -> bool | None:
        """Which way is better; None if the metric does not say."""
        better: bool | None = self.metric.higher_is_better
        return better

    @property
    def short(self) -> str:
        """The name in tables."""
        return SHORT.get(self.name, self.name)

    @property
    def of_mean(self) -> bool:
        """Whether its value is known to depend on the mean of the scores over examples only."""
        return bool(getattr(self.metric, "of_mean", False))

    @property
    def unit(self) -> str:
        """What its curve shows, or its value where it has none."""
        return str(getattr(self.metric, "unit", ""))

    @property
    def fractions(self) -> tuple[float, ...] | None:
        """Where the points of its curve lie; None if it has no curve."""
        found = getattr(self.metric, "fractions", None)
        if found is None or not hasattr(self.metric, "curve"):
            return None
        return tuple(float(fraction) for fraction in found)

    def scores(self, batch: Batch, attributions: Any, method: Method, reference: Callable[[], Any]) -> Tensor:
        """Return the values of the examples of a batch, shape ``(N,)`` or ``(N, …)``.

        Raises:
            OptionError: If the metric gives another number of values.
        """
        if self.compares:
            found = self.metric.scores(attributions, reference())
        else:
            metric = _for(self.metric, _function_of(method)) if self.attributes else self.metric
            found = metric.scores(batch.inputs, attributions, **batch.options)
        if not isinstance(found, Tensor) or found.dim() == 0 or len(found) != len(batch):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise OptionError(
                f"{WHERE}: {self.name}.scores gives {shape} for {len(batch)} examples; it must give one value, or one "
                "row, per example, or there is no interval."
            )
        return found.detach().cpu()


def metrics_of(given: Any, forward_func: Callable[..., Any]) -> list[BenchmarkMetric]:
    """Return the metrics asked for.

    Args:
        given: None for the four of the paper; names and instances in a list, or a mapping from names of one's own to
            them.
        forward_func: For metrics given by name.

    Raises:
        OptionError: If there is no such metric, one is named twice, or lacks ``scores`` and ``aggregate``.
    """
    given = DEFAULT_METRICS if given is None else given
    if isinstance(given, str) or not isinstance(given, (Mapping, Sequence)) or not given:
        wrong = OptionTypeError if given or not isinstance(given, (Mapping, Sequence)) else OptionError
        raise wrong(f"{WHERE}: `metrics` must be a list or dict of metrics, and not empty, but is {given!r}.")
    named = given.items() if isinstance(given, Mapping) else [(None, each) for each in given]
    metrics = [_metric(name, each, forward_func) for name, each in named]
    present = [metric.name for metric in metrics]
    repeated = sorted({name for name in present if present.count(name) > 1})
    if repeated:
        raise OptionError(
            f"{WHERE}: {', '.join(repeated)} is among `metrics` twice. Give a dict with names of your own."
        )
    return metrics


def _metric(name: str | None, given: Any, forward_func: Callable[..., Any]) -> BenchmarkMetric:
    metric = _by_name(given, forward_func) if isinstance(given, str) else given
    lacking = [each for each in ("scores", "aggregate", "higher_is_better") if not hasattr(metric, each)]
    if isinstance(metric, type) or lacking:
        raise OptionTypeError(
            f"{WHERE}: {given!r} among `metrics` has no {', '.join(lacking) or 'instance'}. Give instances of the "
            "metrics in captum_xg.metrics, or their names; others need scores(…) → one row per example, "
            "aggregate(scores) → a number, and higher_is_better."
        )
    compares = next(iter(inspect.signature(metric.scores).parameters)) == "attributions"
    attributes = "attribution_func" in inspect.signature(type(metric)).parameters
    return BenchmarkMetric(name or type(metric).__name__, metric, compares, attributes)


def _function_of(method: Method) -> Callable[..., Any]:
    def attribute(inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        return method.attribute(Batch(0, inputs, target, additional_forward_args, ""))

    return attribute


def _for(metric: Any, function: Callable[..., Any]) -> Any:
    """Return the same metric for another attribution method."""
    own = copy.copy(metric)
    own._held = (function,)
    return own


def _by_name(name: str, forward_func: Callable[..., Any]) -> Any:
    package = importlib.import_module("captum_xg.metrics")
    known = {
        key: value
        for key, value in vars(package).items()
        if isinstance(value, type) and issubclass(value, Metric) and hasattr(value, "scores")
    }
    wanted = _plain(name)
    for key, kind in known.items():
        if wanted in (_plain(key), _plain(SHORT.get(key, key)), _plain(key.removesuffix("Mask"))):
            make: Callable[..., Any] = kind
            first = next(iter(inspect.signature(kind).parameters.values()))
            return make(forward_func) if first.default is first.empty else make()
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    meant = f"Did you mean {', '.join(close)}?" if close else f"Known are {', '.join(known)}."
    raise OptionError(f"{WHERE}: there is no metric {name!r}. {meant}")


def _plain(name: str) -> str:
    return re.sub(r"[_\- ]", "", name).lower()
