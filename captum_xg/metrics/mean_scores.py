"""Metrics that are a mean over examples: sums that add up over batches and over processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from captum_xg.errors import InputError
from captum_xg.metrics.identity import add_identity


class MeanOfScores(Metric):
    """Base of the metrics whose value is the mean of one number, or one curve, per example.

    Subclasses give ``scores`` and an ``update`` that hands its result to :meth:`_add`. The states are a float64 sum and
    a count, summed over processes: every example counts once, however the data are cut into batches and parts, and a
    process without any example adds nothing.

    Args:
        n_points: How many numbers there are per example; None for a single one.
        options: Options of :class:`torchmetrics.Metric`.
    """

    is_differentiable = False
    full_state_update = False

    total: Tensor
    count: Tensor
    identity: Tensor

    def __init__(self, n_points: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        shape = () if n_points is None else (n_points,)
        self.add_state("total", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        add_identity(self)

    @property
    def _where(self) -> str:
        """The public name that errors begin with."""
        return type(self).__name__

    def _add(self, scores: Tensor) -> None:
        """Add scores of shape ``(N,)`` or ``(N, n_points)`` to the sums."""
        self.total = self.total + scores.to(self.total).sum(0)
        self.count = self.count + len(scores)

    def aggregate(self, scores: Tensor) -> Tensor:
        """Return the number that :meth:`compute` gives for the examples with these scores, shape ``()``."""
        return scores.double().mean()

    def compute(self) -> Tensor:
        """Return the mean over all examples of all processes, shape ``()``, float64.

        Raises:
            InputError: If there was no example at all.
        """
        return self.aggregate(self._mean()[None])

    def plot(self, ax: Any = None) -> tuple[Any, Any]:
        """Plot the value and return the figure and the axes."""
        return self._plot(self.compute(), ax)

    @contextmanager
    def _synchronised(self) -> Iterator[None]:
        """Let the states be those of all processes, as they are inside of ``compute``; all processes must enter."""
        if self._is_synced:
            yield
            return
        self.sync(dist_sync_fn=self.dist_sync_fn, process_group=self.process_group, should_sync=self._to_sync)
        try:
            yield
        finally:
            self.unsync(should_unsync=self._is_synced and self._should_unsync)

    def _mean(self) -> Tensor:
        """Return the mean of the scores from the states as they are, synchronised or not."""
        if not int(self.count):
            raise InputError(f"{self._where}: no example was given, so there is no mean. Call update first.")
        return self.total / self.count
