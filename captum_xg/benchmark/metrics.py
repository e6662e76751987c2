"""The metrics of a benchmark: those known by name, instances, and what each declares that it must be given."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from captum_xg.benchmark.data import WHERE, Batch
from captum_xg.benchmark.findings import MetricInfo
from captum_xg.benchmark.methods import Method, named_entries
from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.metrics.agreement import AgreementMetric, MeanAbsoluteRelativeDifference
from captum_xg.metrics.base import ModelMetric
from captum_xg.metrics.captum_metrics import Infidelity, MaxSensitivity
from captum_xg.metrics.completeness import CompletenessGap
from captum_xg.metrics.masking.metrics import KeepAbsoluteMask, KeepNegativeMask, KeepPositiveMask, RemoveAbsoluteMask
from captum_xg.metrics.protocols import (
    Attributions,
    ComparesAttributions,
    HasCurve,
    NeedsAttributionFunction,
    ScoresExamples,
)
from captum_xg.metrics.sensitivity_n import SensitivityN

DEFAULT_METRICS = ("KeepPositiveMask", "KeepNegativeMask", "KeepAbsoluteMask", "RemoveAbsoluteMask")
SHORT = {
    "KeepPositiveMask": "KPM",
    "KeepNegativeMask": "KNM",
    "KeepAbsoluteMask": "KAM",
    "RemoveAbsoluteMask": "RAM",
    "MeanAbsoluteRelativeDifference": "MARD",
}
"""As in the tables of Hesse et al. 2021."""

OF_THE_MODEL: tuple[type[ModelMetric], ...] = (
    CompletenessGap,
    Infidelity,
    KeepAbsoluteMask,
    KeepNegativeMask,
    KeepPositiveMask,
    MaxSensitivity,
    RemoveAbsoluteMask,
    SensitivityN,
)
OF_ATTRIBUTIONS: tuple[type[AgreementMetric], ...] = (MeanAbsoluteRelativeDifference,)
KNOWN: dict[str, type[ModelMetric | AgreementMetric]] = {kind.__name__: kind for kind in OF_THE_MODEL + OF_ATTRIBUTIONS}


@dataclass(frozen=True)
class BenchmarkMetric:
    """A metric and its name in results; only its ``scores`` and ``aggregate`` are used, so it accumulates nothing."""

    name: str
    metric: ScoresExamples

    @property
    def compares(self) -> bool:
        """Whether it compares attributions with those of a reference method and does not see the model."""
        return isinstance(self.metric, ComparesAttributions)

    @property
    def info(self) -> MetricInfo:
        """What tables and figures say of it."""
        unit = str(getattr(self.metric, "unit", ""))
        return MetricInfo(self.name, SHORT.get(self.name, self.name), self.metric.higher_is_better, unit)

    @property
    def of_mean(self) -> bool:
        """Whether its value is declared to depend on the mean of the scores over examples only."""
        return bool(getattr(self.metric, "of_mean", False))

    @property
    def fractions(self) -> tuple[float, ...] | None:
        """Where the points of its curve lie; None if it has no curve."""
        found = self.metric.fractions if isinstance(self.metric, HasCurve) else None
        return None if found is None else tuple(float(fraction) for fraction in found)

    def scores(
        self, batch: Batch, attributions: Attributions, method: Method, reference: Callable[[], Attributions]
    ) -> Tensor:
        """Return the values of the examples of a batch, shape ``(N,)`` or ``(N, …)``.

        Raises:
            OptionError: If the metric gives another number of values.
        """
        metric = self.metric
        if isinstance(metric, ComparesAttributions):
            found: object = metric.scores(attributions, reference())
        else:
            if isinstance(metric, NeedsAttributionFunction):
                metric = metric.bound_to(method.as_function())
            found = metric.scores(batch.inputs, attributions, **batch.options)
        if not isinstance(found, Tensor) or found.dim() == 0 or len(found) != len(batch):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise OptionError(
                f"{WHERE}: {self.name}.scores must give one value, or one row, per example, but gives {shape} for "
                f"{len(batch)} examples. There is no interval otherwise."
            )
        return found.detach().cpu()


def metrics_of(given: object, forward_func: Callable[..., object]) -> list[BenchmarkMetric]:
    """Return the metrics asked for.

    Args:
        given: None for the four of the paper; names and instances in a list, or a mapping from names of your own to
            them.
        forward_func: For metrics given by name.

    Raises:
        OptionError: If there is no such metric, one is named twice, or lacks ``scores`` and ``aggregate``.
    """
    given = DEFAULT_METRICS if given is None else given
    if isinstance(given, (Mapping, Sequence)) and not isinstance(given, str) and not given:
        raise OptionError(f"{WHERE}: `metrics` must hold at least one metric, but is {given!r}.")

    def instance(each: object) -> ScoresExamples:
        metric = _by_name(each, forward_func) if isinstance(each, str) else each
        if isinstance(metric, type) or not isinstance(metric, ScoresExamples):
            lacking = [n for n in ("scores", "aggregate", "higher_is_better") if not hasattr(metric, n)]
            raise OptionTypeError(
                f"{WHERE}: {each!r} among `metrics` has no {', '.join(lacking) or 'instance'}. Give instances of the "
                "metrics in captum_xg.metrics, or their names; others need scores(…) → one row per example, "
                "aggregate(scores) → a number, and higher_is_better, as captum_xg.metrics.protocols says."
            )
        _require_fitting_scores(metric, type(metric).__name__)
        return metric

    named = named_entries(given, "metrics", lambda each: type(instance(each)).__name__)
    return [BenchmarkMetric(name, instance(each)) for name, each in named]


def _require_fitting_scores(metric: ScoresExamples, name: str) -> None:
    """Refuse a metric that cannot be called as it declares, before anything is attributed."""
    compares = isinstance(metric, ComparesAttributions)
    options = {} if compares else {"target": None}  # and additional arguments, where a batch has some
    try:
        inspect.signature(metric.scores).bind(None, None, **options)
    except TypeError as error:
        wanted = "attributions, reference" if compares else "inputs, attributions, target, additional_forward_args"
        raise OptionTypeError(
            f"{WHERE}: {name}.scores must take ({wanted}), but: {error}. A metric that compares two attributions "
            "declares compares_attributions = True, or derives from captum_xg.metrics.agreement.AgreementMetric."
        ) from error
    except ValueError:  # compiled code has no signature
        pass


def _by_name(name: str, forward_func: Callable[..., object]) -> ScoresExamples:
    wanted = _plain(name)
    for kind in OF_THE_MODEL + OF_ATTRIBUTIONS:
        key = kind.__name__
        if wanted in (_plain(key), _plain(SHORT.get(key, key)), _plain(key.removesuffix("Mask"))):
            return kind(forward_func) if issubclass(kind, ModelMetric) else kind()
    close = difflib.get_close_matches(name, KNOWN, n=3, cutoff=0.4)
    meant = f"Did you mean {', '.join(close)}?" if close else f"Known are {', '.join(KNOWN)}."
    raise OptionError(f"{WHERE}: there is no metric {name!r}. {meant}")


def _plain(name: str) -> str:
    return re.sub(r"[_\- ]", "", name).lower()
