"""Collections of metrics whose members mask: what one of them has run, the others do not run again.

Torchmetrics' own ``MetricCollection`` calls its members one by one, and nothing tells a member that the next one is
asked about the same batch of the same model. Here it is told, for as long as one call lasts: the members hold one
:class:`~captum_xg.metrics.masking.evaluations.SharedEvaluations`, and let go of it when the call is over, so that no
outcome is used once inputs, weights or maskers may have changed. The numbers are those of the members alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torchmetrics import MetricCollection

from captum_xg.metrics.masking.evaluations import SharedEvaluations
from captum_xg.metrics.masking.metric import MaskingMetric


@contextmanager
def shared_evaluations(*metrics: nn.Module) -> Iterator[None]:
    """Let masking metrics share masked inputs that were run, until the block ends.

    Within the block inputs, models, targets and maskers must stay as they are: equal tensors are known by being the
    same object. Masks are shared over metrics and over attributions of the same inputs, such as those of several
    methods. Blocks may be nested; the outer one holds.

    Args:
        metrics: Metrics, or collections and wrappers of them; those that do not mask are left alone.

    Example:
        >>> model, x = torch.nn.Linear(4, 3), torch.rand(2, 4)
        >>> keep, remove = KeepAbsoluteMask(model), RemoveAbsoluteMask(model)
        >>> with shared_evaluations(keep, remove):
        ...     for attributions in (x, -x):  # of several methods
        ...         scores = keep.scores(x, attributions, 0), remove.scores(x, attributions, 0)
    """
    shared = SharedEvaluations()
    # `modules()` also finds members of collections, and metrics within wrappers. Those that share belong to an outer
    # block, which goes on when this one ends.
    alone = [m for metric in metrics for m in metric.modules() if isinstance(m, MaskingMetric) and m._shared is None]
    for metric in alone:
        metric._shared = shared
    try:
        yield
    finally:
        # After an error, too: what was shared would otherwise answer for later batches.
        for metric in alone:
            metric._shared = None


class AttributionMetricCollection(MetricCollection):
    """A :class:`torchmetrics.MetricCollection` whose masking metrics share forward passes.

    The four masking metrics see the same masked inputs again and again: nothing masked, everything masked, the most
    important features by sign and by size. Each different one is run once, and masked values are made once, in every
    call of ``update`` and ``forward``. Everything else is as torchmetrics does it.

    Args:
        metrics: As for torchmetrics: metrics in a list, or in a dict with names of their own.
        additional_metrics: Further ones.
        options: ``prefix``, ``postfix`` and ``compute_groups`` of torchmetrics.

    Example:
        >>> model = torch.nn.Linear(4, 3).eval()
        >>> collection = AttributionMetricCollection([KeepAbsoluteMask(model), RemoveAbsoluteMask(model)])
        >>> collection.update(torch.rand(8, 4), torch.randn(8, 4), torch.zeros(8, dtype=torch.int64))
        >>> sorted(collection.compute())
        ['KeepAbsoluteMask', 'RemoveAbsoluteMask']
    """

    def update(self, *args: object, **kwargs: object) -> None:
        """Update every member; arguments as for torchmetrics: by position for all, by name for those that take them."""
        with shared_evaluations(self):
            super().update(*args, **kwargs)

    def forward(self, *args: object, **kwargs: object) -> dict[str, object]:
        """Update every member, and return the values of this batch by the names of the members."""
        with shared_evaluations(self):
            return dict(super().forward(*args, **kwargs))
