"""Metrics that are a mean over examples: sums that add up over batches and over processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from captum_xg._core.options import single_number
from captum_xg.errors import InputError, OptionTypeError
from captum_xg.metrics.masking.identity import add_identity


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

    of_mean: ClassVar[bool] = True
    """Whether :meth:`aggregate` depends on the mean of the scores over examples alone."""

    total: Tensor
    count: Tensor
    identity: Tensor

    _curve_behind: tuple[float, Tensor, Tensor] | None = None
    """The value that was computed last, and the points of the curve it is of."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Whoever aggregates in another way says so anew, or a median would be taken for a mean.
        if "aggregate" in vars(cls) and "of_mean" not in vars(cls):
            cls.of_mean = False

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
        mean = self._mean()
        value = self.aggregate(mean[None])
        if mean.dim():  # for `plot`, which may be called with the value, and by one process alone
            self._curve_behind = float(value), self._points().cpu(), mean.cpu()
        return value

    def plot(self, val: Any = None, ax: Any = None) -> tuple[Any, Any]:
        """Plot the metric, as metrics of torchmetrics do, and return the figure and the axes.

        A metric with a curve draws it where the value is its own; other values are drawn as points, a list of them as
        a series of steps.

        Args:
            val: A result of ``compute`` or of calling the metric, or a list of them; by default ``compute()``, which
                all processes must call. The axes alone may stand in this place, too.
            ax: Matplotlib's axes to draw on; new ones by default.

        Raises:
            OptionTypeError: If a value is no number.
            InputError: If there was no example, and no value is given.
        """
        from matplotlib.axes import Axes

        if isinstance(val, Axes) and ax is None:
            val, ax = None, val
        axes: Any
        value = self._plottable(self.compute() if val is None else val)
        if self._curve_behind is not None and not isinstance(value, list) and float(value) == self._curve_behind[0]:
            import matplotlib.pyplot as plt

            axes = plt.subplots()[1] if ax is None else ax
            self._draw(axes, *self._curve_behind)
        else:
            axes = self._plot(value, ax)[1]
            if not all(map(math.isfinite, value if isinstance(value, list) else [value])):
                axes.set_title("values that are not finite cannot be drawn", fontsize="small")
        return axes.figure, axes

    def _points(self) -> Tensor:
        """Return the places of the points of the curve, if there is one."""
        raise NotImplementedError

    def _draw(self, axes: Any, value: float, points: Tensor, curve: Tensor) -> None:
        """Draw the curve, if there is one."""
        raise NotImplementedError

    def _plottable(self, val: Any) -> Tensor | list[Tensor]:
        """Return one value, or a list of them, as tensors of one dtype on the CPU."""
        values = list(val) if isinstance(val, (list, tuple)) else [val]
        numbers = [single_number(v.reshape(()) if isinstance(v, Tensor) and v.numel() == 1 else v) for v in values]
        if not numbers or None in numbers:
            raise OptionTypeError(
                f"{self._where}.plot: `val` must be what compute() or a call of the metric returned, or a list of such "
                f"numbers, but is {val!r:.80}."
            )
        tensors = [torch.tensor(number, dtype=torch.float64) for number in numbers]
        return tensors if isinstance(val, (list, tuple)) else tensors[0]

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
