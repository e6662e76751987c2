"""What the masking metrics have in common: curves over fractions of kept features, and the area under them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.inputs import format_inputs
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import one_of, single_numbers
from captum_xg._core.types import Target
from captum_xg.errors import ForwardOutputError, InputError, OptionError, OptionTypeError, TargetError
from captum_xg.metrics.maskers import GaussianBlur, Masker, Zero
from captum_xg.metrics.masking.evaluations import Masking, ModelCall
from captum_xg.metrics.masking.features import ChannelDim, Features, check_channel_dim
from captum_xg.metrics.masking.order import KeptRanges, Protocol, Sign, kept_ranges
from captum_xg.metrics.masking.sharing import settle, shared_outcomes
from captum_xg.metrics.model_metric import ModelMetric


class MaskingMetric(ModelMetric):
    r"""Base of the four masking metrics: the area under the curve of what the model says over the kept fraction.

    At each fraction f, k = int(f·n) of the n features of an example keep their value, fewer where the metric says so,
    and all others take that of the masker. A feature is a pixel (position of a sequence, number of a table row) with
    all its channels; its attribution is the mean over its channels. Features of equal attribution are ordered by
    position, the first counting as the more important. The value is the trapezoid

    .. math:: \sum_p \tfrac12 (y_p + y_{p+1})(f_{p+1} - f_p)

    of the mean curve y over all examples, not divided by the width of the range: a curve that is constantly y has the
    area 0.99·y over [0.01, 1], as in the paper's Table 3.

    Equal masked inputs are run once: fractions that give the same k, fractions beyond the last candidate, masks that
    differ only where the masker leaves the input as it is. Metrics that get the same tensors one after the other, as
    the members of a ``MetricCollection`` do, share outputs and masked values.

    Args:
        forward_func: A module or any callable that gives outputs ``(N, C)``, one per class.
        fractions: Increasing numbers in [0, 1]; by default ``geomspace(0.01, 1, 16)``.
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
    sign: ClassVar[Sign]
    remove: ClassVar[bool] = False
    unit: ClassVar[str] = "mean output of the target"

    batches: Tensor
    largest_batch: Tensor

    def __init__(
        self,
        forward_func: Callable[..., Any],
        fractions: Sequence[float] | Tensor | None = None,
        masker: Masking | tuple[Masking, ...] | None = None,
        *,
        protocol: Protocol = "paper",
        channel_dim: ChannelDim = "auto",
        internal_batch_size: int | None = None,
        **options: Any,
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
        self, inputs: Any, attributions: Any, target: Target = None, additional_forward_args: object = None
    ) -> Tensor:
        """Return the curve of each example, shape ``(N, n_points)``, float64; nothing is accumulated.

        Arguments and errors as for :meth:`update`.
        """
        where = self._where
        require_evaluation_mode(self.forward_func, where)
        formatted = format_inputs(inputs, where)
        n = len(formatted[0])
        features = Features.of(formatted, self.channel_dim, where)
        importance = features.attributions(attributions, formatted, where)
        if len(importance) != n:
            raise InputError(f"{where}: {len(importance)} attributions for {n} inputs.")
        call = ModelCall(self.forward_func, additional_forward_args, target, n, where)
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        maskers = self._maskers_for(formatted, features.channels)
        known = shared_outcomes(
            self.forward_func,
            formatted,
            given,
            attributions if isinstance(attributions, tuple) else (attributions,),
            target,
            additional_forward_args,
            maskers,
            features,
            tuple(self.identity.tolist()),
            where,
        )
        targets, classes = known.outcomes(call, formatted, importance, self._ranges, self._size(formatted[0]))
        settle(known, self.forward_func, given, maskers)
        return self._judged(targets, classes, target)

    def aggregate(self, scores: Tensor) -> Tensor:
        """Return the area under the mean of these curves ``(N, n_points)``, shape ``()``, float64."""
        return torch.trapezoid(scores.double().mean(0), self._points().to(scores.device))

    def curve(self) -> tuple[Tensor, Tensor]:
        """Return the fractions and the mean curve over all examples so far, both ``(n_points,)``, float64.

        As for :meth:`compute`, all processes must call it where several run.

        Raises:
            InputError: If there was no example.
        """
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync and not self._is_synced, should_unsync=True
        ):
            return self._points(), self._mean()

    def _draw(self, axes: Any, value: float, points: Tensor, curve: Tensor) -> None:
        axes.plot(points.numpy(), curve.numpy(), marker=".", label=f"{self._where}: area {value:.4g}")
        axes.set_xlabel("fraction of features kept")
        axes.set_ylabel(self.unit)
        axes.legend()

    def extra_repr(self) -> str:
        """Return the options that are not the default."""
        masker = self._maskers[0] if len(self._maskers) == 1 else self._maskers
        return f"{len(self.fractions)} fractions, masker={masker!r}, protocol={self.protocol!r}"

    def _judged(self, targets: Tensor, classes: Tensor, target: Target) -> Tensor:
        """Return the curves: the target's output."""
        if not bool(torch.isfinite(targets).all()):
            bad = int((~torch.isfinite(targets)).any(1).nonzero()[0])
            raise ForwardOutputError(
                f"{self._where}: forward_func gives NaN or infinity for example {bad} with some features masked. The "
                "model may not be defined for such inputs; another masker may keep to those that it knows."
            )
        return targets.double()

    def _add(self, scores: Tensor) -> None:
        super()._add(scores)
        self.batches = self.batches + 1
        self.largest_batch = self.largest_batch.clamp_min(len(scores))

    def _mean(self) -> Tensor:
        mean = super()._mean()
        return mean if self.protocol == "paper" else self.total / (self.batches * self.largest_batch)

    def _ranges(self, attributions: Tensor) -> KeptRanges:
        return kept_ranges(attributions, self.fractions, self.sign, remove=self.remove)

    def _maskers_for(self, inputs: tuple[Tensor, ...], channels: tuple[int | None, ...]) -> tuple[Masking, ...]:
        chosen = self._maskers * len(inputs) if len(self._maskers) == 1 else self._maskers
        if len(chosen) != len(inputs):
            raise InputError(
                f"{self._where}: {len(chosen)} maskers for {len(inputs)} inputs. Pass one, or one for each."
            )
        return tuple(
            masker if masker is not None else cast(Masking, self._default_masker(x, channel))
            for masker, x, channel in zip(chosen, inputs, channels, strict=True)
        )

    def _default_masker(self, x: Tensor, channel: int | None) -> Masker:
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

    def _points(self) -> Tensor:
        return torch.tensor(self.fractions, dtype=torch.float64, device=self.total.device)


class AccuracyMaskingMetric(MaskingMetric):
    """Base of the masking metrics whose curve is the top-1 accuracy in percent."""

    sign = "absolute"
    unit = "top-1 accuracy (%)"

    def _judged(self, targets: Tensor, classes: Tensor, target: Target) -> Tensor:
        """Return the curves: 100 where the class of the largest output is the target, else 0."""
        if bool((classes < 0).any()):
            raise ForwardOutputError(
                f"{self._where}: top-1 accuracy needs outputs (N, C) with a number for each of C ≥ 2 classes. Give one "
                "logit z as two: torch.stack([torch.zeros_like(z), z], 1)."
            )
        if bool(targets.isnan().any()):
            bad = int(targets.isnan().any(1).nonzero()[0])
            raise ForwardOutputError(
                f"{self._where}: forward_func gives NaN for example {bad} with some features masked, so no class."
            )
        return 100.0 * (classes == self._labels(target, classes)).double()

    def _labels(self, target: Target, classes: Tensor) -> Tensor:
        if isinstance(target, (int, list)):
            target = torch.tensor(target)
        if not isinstance(target, Tensor) or target.numel() not in (1, len(classes)):
            raise TargetError(
                f"{self._where}: top-1 accuracy needs one class per example as `target`, but got {target!r}."
            )
        if bool((target < 0).any()):
            raise TargetError(
                f"{self._where}: `target` is {int(target.min())}, but classes are counted from 0 where they are "
                "compared with the predicted one."
            )
        return target.to(classes).reshape(-1, 1)


def _checked_fractions(fractions: Sequence[float] | Tensor | None, where: str) -> tuple[float, ...]:
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
