"""Masking metrics: curves of what the model says while features are masked, and the area under them.

The arithmetic is in two functions, :func:`target_curve` and :func:`accuracy_curve`, from outcomes to one curve per
example; the metric around them checks arguments, orders features
(:func:`~captum_xg.metrics.masking.order.kept_ranges`) and asks
:class:`~captum_xg.metrics.masking.evaluations.MaskedEvaluations`. The invariant: a curve is a function of one example,
its attributions, its target and the state of the model, whatever batch it comes in. Example: for F(x) = Σx,
x = (4, −2), attributions x and the fractions 0, ½, 1, KeepPositiveMask keeps nothing, x0 and x0: the curve is
(0, 4, 4), of area 3.
What must never happen: that outcomes of an earlier call are used. They are shared within a block of
:func:`~captum_xg.metrics.collection.shared_evaluations` alone, and no copy of a metric takes them along.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.inputs import all_finite, first_not_finite, format_inputs
from captum_xg._core.options import one_of, single_numbers
from captum_xg._core.types import ForwardFunction, Target
from captum_xg.errors import ForwardOutputError, InputError, OptionError, OptionTypeError, TargetError
from captum_xg.metrics.curve_metric import CurveMetric
from captum_xg.metrics.maskers import GaussianBlur, Zero
from captum_xg.metrics.masking.evaluations import MaskedEvaluations, Masking, Outcomes, SharedEvaluations
from captum_xg.metrics.masking.features import ChannelDim, Features, check_channel_dim
from captum_xg.metrics.masking.order import Protocol, Sign, kept_ranges
from captum_xg.metrics.protocols import MetricOptions, Tensors

if TYPE_CHECKING:
    from typing_extensions import Unpack


class MaskingMetric(CurveMetric):
    r"""Base of the four masking metrics: the area under the curve of what the model says over the kept fraction.

    At each fraction f, k = int(f·n) of the n features of an example keep their value, fewer where the metric says so,
    and all others take that of the masker. A feature is a pixel (position of a sequence, number of a table row) with
    all its channels; its attribution is the mean over its channels. Features of equal attribution are ordered by
    position, the first counting as the more important. The value is the trapezoid

    .. math:: \sum_p \tfrac12 (y_p + y_{p+1})(f_{p+1} - f_p)

    of the mean curve y over all examples, not divided by the width of the range: a curve that is constantly y has the
    area 0.99·y over [0.01, 1], as in the paper's Table 3.

    Equal masked inputs are run once: fractions that give the same k, fractions beyond the last candidate, masks that
    differ only where the masker leaves the input as it is. Metrics in one
    :class:`~captum_xg.metrics.AttributionMetricCollection` share outputs and masked values.

    Args:
        forward_func: A module or any callable that gives outputs ``(N, C)``, one per class.
        fractions: Of the features that are *kept* (in :class:`~captum_xg.metrics.SensitivityN` it is those removed):
            increasing numbers in [0, 1]; by default ``geomspace(0.01, 1, 16)``.
        masker: A callable from inputs ``(N, …)`` to the values that masked features take (see
            :mod:`captum_xg.metrics.maskers`), or a tuple of one for each input. By default the paper's Gaussian blur
            for inputs of four dimensions or more, and zeros otherwise.
        protocol: ``"paper"``, or ``"released"`` for what the published numbers were made with: the kernel of the
            default masker, and an average that divides by the number of batches times the size of the largest, which
            is wrong where the last batch is short.
        channel_dim: The dimension that is averaged over and masked as one: ``"auto"`` (1 for inputs of four dimensions
            or more, the last one for ``(N, L, D)``, none for ``(N, D)``), a dimension, or None for none.
        internal_batch_size: The most masked inputs in one forward pass. If None, 32 on a CPU, and on an accelerator as
            many as there are examples, but at least 64.
        options: Options of :class:`torchmetrics.Metric`.

    Raises:
        OptionError: If an option has no such value.

    Source: Hesse et al. 2021, Section B.2 and Table 3; after Lundberg et al. 2020.
    """

    of_mean = True  # the area is linear in the curve
    unit = "mean output of the target"
    x_label = "fraction of features kept"
    value_name = "area"
    sign: ClassVar[Sign]
    remove: ClassVar[bool] = False

    _shared: SharedEvaluations | None = None
    """What a collection lets its members share while a call of it lasts."""

    batches: Tensor
    largest_batch: Tensor

    def __init__(
        self,
        forward_func: ForwardFunction,
        fractions: Sequence[float] | Tensor | None = None,
        masker: Masking | tuple[Masking, ...] | None = None,
        *,
        protocol: Protocol = "paper",
        channel_dim: ChannelDim = "auto",
        internal_batch_size: int | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        points = _checked_fractions(fractions, type(self).__name__)
        super().__init__(forward_func, internal_batch_size=internal_batch_size, n_points=len(points), **options)
        self.fractions = points
        self.protocol: Protocol = one_of(protocol, ("paper", "released"), "protocol", self._where)
        several = masker if isinstance(masker, tuple) else (masker,)
        if not several or not all(m is None or (callable(m) and not isinstance(m, type)) for m in several):
            raise OptionTypeError(
                f"{self._where}: `masker` must be a callable from inputs to the values that masked features take, such "
                f"as maskers.GaussianBlur(), or a tuple of them, but is {masker!r}."
            )
        self._maskers = several  # in a tuple, so that a module is not made part of the metric
        self.channel_dim = check_channel_dim(channel_dim, self._where)
        self.add_state("batches", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("largest_batch", torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")

    @torch.no_grad()
    def scores(
        self, inputs: Tensors, attributions: Tensors, target: Target = None, additional_forward_args: object = None
    ) -> Tensor:
        """Return the curve of each example, shape ``(N, n_points)``, float64; nothing is accumulated.

        Arguments and errors as for :meth:`update`.
        """
        function = self._function(target, additional_forward_args)
        formatted = format_inputs(inputs, self._where)
        features = Features.of(formatted, self.channel_dim, self._where)
        importance = features.attributions(attributions, formatted, self._where)
        maskers = self._maskers_for(formatted, features)
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        # Alone, it shares nothing: the evaluations go with this call. The question holds what the caller passed, for
        # integers, say, are formatted into a new tensor each time.
        evaluations = (self._shared or SharedEvaluations()).of(
            (self.forward_func, *given, target, additional_forward_args, features, *maskers),
            lambda: MaskedEvaluations(function, formatted, maskers, features),
        )
        masks = kept_ranges(importance, self.fractions, self.sign, remove=self.remove)
        return self._judged(evaluations.outcomes(masks, self._size(formatted[0])), target)

    def aggregate(self, scores: Tensor) -> Tensor:
        """Return the area under the mean of these curves ``(N, n_points)``, shape ``()``, float64."""
        # Of the mean curve, which is the mean of the areas; the bootstrap relies on that (`of_mean`).
        return torch.trapezoid(scores.double().mean(0), self.points().to(scores.device))

    def points(self) -> Tensor:
        """Return the fractions, ``(n_points,)``, float64."""
        return torch.tensor(self.fractions, dtype=torch.float64, device=self.total.device)

    def extra_repr(self) -> str:
        """Return the options that are not the default."""
        masker = self._maskers[0] if len(self._maskers) == 1 else self._maskers
        return f"{len(self.fractions)} fractions, masker={masker!r}, protocol={self.protocol!r}"

    def __getstate__(self) -> dict[str, object]:
        """Return the state without what is shared, which no copy may keep: it is for the batch of one call."""
        return {name: value for name, value in super().__getstate__().items() if name != "_shared"}

    def _judged(self, outcomes: Outcomes, target: Target) -> Tensor:
        return target_curve(outcomes, self._where)

    def _add(self, scores: Tensor) -> None:
        super()._add(scores)
        self.batches = self.batches + 1
        self.largest_batch = self.largest_batch.clamp_min(len(scores))

    def _mean(self) -> Tensor:
        mean = super()._mean()
        # As the released code divides; only where all batches are of one size is it the mean.
        return mean if self.protocol == "paper" else self.total / (self.batches * self.largest_batch)

    def _maskers_for(self, inputs: tuple[Tensor, ...], features: Features) -> tuple[Masking, ...]:
        chosen = self._maskers * len(inputs) if len(self._maskers) == 1 else self._maskers
        if len(chosen) != len(inputs):
            raise InputError(
                f"{self._where}: {len(chosen)} maskers for {len(inputs)} inputs. Pass one, or one for each."
            )
        return tuple(
            self._default_masker(x, channel) if masker is None else masker
            for masker, x, channel in zip(chosen, inputs, features.channels, strict=True)
        )

    def _default_masker(self, x: Tensor, channel: int | None) -> Masking:
        if x.dim() < 4:
            return Zero()
        # The blur goes over positions, wherever the channels are.
        positions = None if channel in (None, 1) else tuple(d for d in range(1, x.dim()) if d != channel)
        return GaussianBlur(protocol=self.protocol, dims=positions)

    def _size(self, x: Tensor) -> int:
        if self.internal_batch_size is not None:
            return self.internal_batch_size
        # A CPU is fastest where the activations stay in its caches.
        return 32 if x.device.type == "cpu" else max(64, len(x))


class AccuracyMaskingMetric(MaskingMetric):
    """Base of the masking metrics whose curve is the top-1 accuracy in percent."""

    sign = "absolute"
    unit = "top-1 accuracy (%)"

    def _judged(self, outcomes: Outcomes, target: Target) -> Tensor:
        return accuracy_curve(outcomes, target, self._where)


def target_curve(outcomes: Outcomes, where: str) -> Tensor:
    """Return the target's output of each example at each point, ``(N, P)``, float64.

    Raises:
        ForwardOutputError: If it is NaN or infinite anywhere.
    """
    if not all_finite(outcomes.targets):
        raise ForwardOutputError(
            f"{where}: forward_func gives NaN or infinity for example {first_not_finite(outcomes.targets)} with some "
            "features masked. The model may not be defined for such inputs; another masker may keep to those that it "
            "knows."
        )
    return outcomes.targets.double()


def accuracy_curve(outcomes: Outcomes, target: Target, where: str) -> Tensor:
    """Return 100 where the class of the largest output is the target, else 0, ``(N, P)``, float64.

    Raises:
        ForwardOutputError: If the output has no classes, or is NaN anywhere.
        TargetError: If the target is not one class, counted from 0, per example.
    """
    targets, classes = outcomes
    if bool((classes < 0).any()):
        raise ForwardOutputError(
            f"{where}: top-1 accuracy needs outputs (N, C) with a number for each of C ≥ 2 classes. Give one "
            "logit z as two: torch.stack([torch.zeros_like(z), z], 1)."
        )
    if bool(targets.isnan().any()):
        bad = int(targets.isnan().any(1).nonzero()[0])
        raise ForwardOutputError(f"{where}: forward_func gives NaN for example {bad} with some features masked.")
    # Targets that the explained output needs are checked by then; here they must be classes, which a tuple is not.
    labels = torch.tensor(target) if isinstance(target, (int, list)) else target
    if not isinstance(labels, Tensor) or labels.numel() not in (1, len(classes)):
        raise TargetError(f"{where}: top-1 accuracy needs one class per example as `target`, but got {target!r}.")
    if bool((labels < 0).any()):
        raise TargetError(
            f"{where}: `target` is {int(labels.min())}, but classes are counted from 0 where they are "
            "compared with the predicted one."
        )
    return 100.0 * (classes == labels.to(classes).reshape(-1, 1)).double()


def _checked_fractions(fractions: object, where: str) -> tuple[float, ...]:
    if fractions is None:
        return tuple(float(f) for f in np.geomspace(0.01, 1.0, 16))
    points = single_numbers(fractions)
    increasing = points is not None and len(points) > 1 and all(a < b for a, b in pairwise(points))
    if points is None or not increasing or not 0 <= points[0] <= points[-1] <= 1:
        kind = OptionTypeError if points is None else OptionError
        raise kind(
            f"{where}: `fractions` must be at least two increasing numbers in [0, 1] but is {fractions!r}. They are "
            "the points of a curve, whose area is measured."
        )
    return points
