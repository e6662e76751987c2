"""Base of the metrics that are a curve over fractions of the features, and of how all of them draw it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor

from captum_xg.metrics.base import ModelMetric

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class CurveMetric(ModelMetric):
    """Base of the metrics whose value is made of the mean, over examples, of a curve per example.

    A subclass says where the points lie, and names both axes: ``x_label`` and ``unit``.
    """

    unit: ClassVar[str]
    x_label: ClassVar[str]
    x_scale: ClassVar[Literal["linear", "log"]] = "linear"
    value_name: ClassVar[str]
    """What the value is of the curve: its area, its mean."""

    _curve_behind: tuple[float, Tensor, Tensor] | None = None
    """The value that was computed last, and the points of the curve it is of."""

    def points(self) -> Tensor:
        """Return the fractions at which the curve has its points, ``(n_points,)``, float64."""
        raise NotImplementedError

    def compute(self) -> Tensor:
        """Return the value of the mean curve over all examples of all processes, shape ``()``, float64.

        Raises:
            InputError: If there was no example at all.
        """
        mean = self._mean()
        value = self.aggregate(mean[None])
        # For `plot`, which may be called with the value, and by one process alone.
        self._curve_behind = float(value), self.points().cpu(), mean.cpu()
        return value

    def curve(self) -> tuple[Tensor, Tensor]:
        """Return the fractions and the mean curve over all examples so far, both ``(n_points,)``, float64.

        As for :meth:`compute`, all processes must call it where several run.

        Raises:
            InputError: If there was no example at all.
        """
        within = self._is_synced  # by the caller, who expects to find it so afterwards
        self.sync(
            dist_sync_fn=self.dist_sync_fn, process_group=self.process_group, should_sync=self._to_sync and not within
        )
        try:
            return self.points(), self._mean()
        finally:
            self.unsync(should_unsync=self._is_synced and self._should_unsync and not within)

    def _drawn(self, value: Tensor | list[Tensor], ax: Axes | None) -> Axes:
        last = self._curve_behind
        if last is None or isinstance(value, list) or float(value) != last[0]:
            return super()._drawn(value, ax)
        import matplotlib.pyplot as plt

        axes: Axes = plt.subplots()[1] if ax is None else ax
        label = f"{self._where}: {self.value_name} {last[0]:.4g}"
        axes.plot(last[1].numpy(), last[2].numpy(), marker=".", label=label)
        axes.set_xscale(self.x_scale)
        axes.set_xlabel(self.x_label)
        axes.set_ylabel(self.unit)
        axes.legend()
        return axes
