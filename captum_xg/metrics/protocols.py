"""Protocols by which a metric declares what it must be given: attributions, reference attributions, or a method.

A metric scores examples one by one and makes one number of the scores. What ``scores`` is called with is declared, and
never guessed from the names of parameters:

======================================  ==================================================================
a metric that                           ``scores`` is called with
======================================  ==================================================================
declares nothing                        ``(inputs, attributions, target=…, additional_forward_args=…)``
is a :class:`ComparesAttributions`      ``(attributions, reference)``
is a :class:`NeedsAttributionFunction`  as the first, of the metric that ``bound_to(attribute)`` returns
======================================  ==================================================================

A new metric that compares two attributions, whole, ready for ``MetricCollection`` and ``AttributionBenchmark``::

    class CosineSimilarity(AgreementMetric):
        higher_is_better = True
        unit = "cosine of the angle to the reference"

        def scores(self, attributions, reference):
            given, wanted = self.rows(attributions, reference)
            return torch.nn.functional.cosine_similarity(given, wanted)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, TypedDict, TypeVar, runtime_checkable

from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Tensors: TypeAlias = Tensor | tuple[Tensor, ...]
"""Inputs ``(N, …)``, or their attributions: one tensor, or several in a tuple."""

Attributions: TypeAlias = Tensors

AttributionFunction: TypeAlias = Callable[..., Tensors]
"""``attribute`` of an attribution method, or any callable from inputs to attributions."""

Self_co = TypeVar("Self_co", covariant=True)


class MetricOptions(TypedDict, total=False):
    """Options that every metric takes, those of :class:`torchmetrics.Metric`."""

    compute_on_cpu: bool
    dist_sync_on_step: bool
    process_group: ProcessGroup | None
    dist_sync_fn: Callable[..., list[Tensor]] | None
    distributed_available_fn: Callable[[], bool]
    sync_on_compute: bool
    compute_with_cache: bool


@runtime_checkable
class ScoresExamples(Protocol):
    """A metric that can be evaluated example by example, without accumulating anything.

    ``scores`` returns one number ``(N,)``, or one row ``(N, …)``, per example; ``aggregate`` makes one number of the
    scores of any examples. Which arguments ``scores`` takes is declared by the other protocols. A metric may declare
    ``of_mean = True``: its ``aggregate`` depends on the mean of the scores over the examples alone, so that
    ``aggregate(scores)`` and ``aggregate(scores.mean(0, keepdim=True))`` are one number.
    """

    higher_is_better: bool | None

    @property
    def scores(self) -> Callable[..., Tensor]:
        """From what the metric is given to one number, or one row, per example."""

    def aggregate(self, scores: Tensor) -> Tensor:
        """Return the value of the metric for the examples with these scores, shape ``()``."""


@runtime_checkable
class ComparesAttributions(Protocol):
    """A metric of how near attributions are to reference attributions; it sees neither inputs nor model.

    Declared by the attribute, which :class:`~captum_xg.metrics.agreement.AgreementMetric` has.
    """

    compares_attributions: ClassVar[bool] = True

    def scores(self, attributions: Tensors, reference: Tensors) -> Tensor:
        """Return one number, or one row, per example."""


@runtime_checkable
class NeedsAttributionFunction(Protocol[Self_co]):
    """A metric that attributes itself, and so is another metric for each attribution method."""

    def bound_to(self, attribution_func: AttributionFunction) -> Self_co:
        """Return a metric of the same settings for another method; this one stays as it is."""


@runtime_checkable
class HasCurve(Protocol):
    """A metric whose value is the area under, or the mean of, a curve with one point per fraction."""

    fractions: tuple[float, ...] | None
    """Where the points lie; None where that depends on the inputs."""

    def curve(self) -> tuple[Tensor, Tensor]:
        """Return places and values of the points of the mean curve over all examples so far."""
