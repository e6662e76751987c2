"""Do the attributions of a random set of features add up to what the output loses without these features?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.function import ScalarFunction
from captum_xg._core.inputs import format_inputs
from captum_xg._core.options import integer, positive_integer, single_numbers
from captum_xg._core.seeding import checked_seed, example_seed
from captum_xg._core.types import Target
from captum_xg.errors import InputError, OptionError, OptionTypeError
from captum_xg.metrics.formatting import checked_baselines, format_attributions, format_baselines, require_same_shapes
from captum_xg.metrics.model_metric import ModelMetric, repeated

N_POINTS = 10
LARGEST_FRACTION = 0.8


class SensitivityN(ModelMetric):
    r"""Correlation, over random sets of n features, of their summed attributions with the loss of output without them.

    .. math:: c_n(x) = \operatorname{corr}_{S: |S| = n} \Big( \sum_{i \in S} A_i(x),\; F(x) - F(x_{S \to b}) \Big)

    Pearson's correlation over ``n_subsets`` uniformly random sets S, in which features take the values of the baseline;
    1 for every n means that differences between sets are explained exactly, up to scale. :meth:`curve` is the mean over
    examples for each n, :meth:`compute` the mean over the curve.

    Where a correlation is not defined: it is 0 if only one of the two sides is the same for all sets. If both are (one
    single set, features that all count alike, a constant F with zero attributions), what is left of the definition is
    equality: 1 if the two constants agree to the square root of the machine precision, else 0. *The same* is up to
    rounding: a spread of at most 8 eps of the largest term.

    Sets are drawn from ``seed`` and the values of the example: methods, batches and processes all see the same ones.
    For one example the sets of different n are nested. The cost is ``n_subsets`` × (number of different n) forward
    passes per example.

    Args:
        forward_func: A module or any callable that gives one number per example once a target is chosen.
        fractions: Set sizes as fractions of the number of features, in (0, 1], rounded to at least one feature. By
            default 10 sizes, evenly spaced on a logarithmic scale from one feature to 80 % of them; where there are few
            features sizes occur repeatedly.
        n_subsets: How many sets of each size.
        baselines: What a removed feature becomes: None for zero, a number, a tensor of the input's shape or with 1 in
            place of N, a callable from an input to such a tensor, or a tuple of these for several inputs.
        joint_dim: Dimension whose entries are one feature together: 1 for the channels of images ``(N, C, H, W)``, −1
            for embedded tokens ``(N, L, D)``. None: every entry is a feature.
        seed: Integer that decides which sets are drawn.
        internal_batch_size: The most examples in one forward pass.
        options: Options of :class:`torchmetrics.Metric`.

    Raises:
        OptionError: If an option has no such value.

    Source: Ancona et al. 2018, *Towards better understanding of gradient-based attribution methods for deep neural
    networks*, Section 4.

    Example:
        >>> x = torch.tensor([[1.0, 2.0, 4.0]])
        >>> metric = SensitivityN(lambda x: x.sum(1))
        >>> metric.update(x, x)
        >>> round(float(metric.compute()), 6)
        1.0
    """

    higher_is_better = True
    unit = "mean correlation with the drop of the output"

    n_features: Tensor

    def __init__(
        self,
        forward_func: Callable[..., Any],
        fractions: Sequence[float] | None = None,
        *,
        n_subsets: int = 100,
        baselines: Any = None,
        joint_dim: int | None = None,
        seed: int = 0,
        internal_batch_size: int | None = 64,
        **options: Any,
    ) -> None:
        points = None if fractions is None else _checked_fractions(fractions, type(self).__name__)
        n_points = N_POINTS if points is None else len(points)
        super().__init__(forward_func, internal_batch_size=internal_batch_size, n_points=n_points, **options)
        self.fractions = points
        self.n_subsets = positive_integer(n_subsets, "n_subsets", self._where)
        if self.n_subsets < 2:
            raise OptionError(f"{self._where}: `n_subsets` is 1, but one point has no correlation. Take 2 or more.")
        self.baselines = checked_baselines(baselines, self._where)
        self.joint_dim = None if joint_dim is None else integer(joint_dim, "joint_dim", self._where)
        if self.joint_dim == 0:
            raise OptionError(
                f"{self._where}: `joint_dim` must be None or a dimension of the inputs other than 0, which counts the "
                "examples."
            )
        self.seed = checked_seed(seed, self._where)
        # The largest over processes is the number of all that have examples; 0 is: none seen yet.
        self.add_state("n_features", torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")

    def sizes(self, n_features: int) -> list[int]:
        """Return the set sizes n of the points of the curve for inputs with so many features."""
        if self.fractions is not None:
            return [max(1, round(f * n_features)) for f in self.fractions]
        largest = max(1, int(LARGEST_FRACTION * n_features))
        return [round(largest ** (k / (N_POINTS - 1))) for k in range(N_POINTS)]

    def update(
        self, inputs: Any, attributions: Any, target: Target = None, additional_forward_args: object = None
    ) -> None:
        """Add examples; arguments and errors as for every metric that runs the model.

        Raises:
            InputError: Besides, if the examples have another number of features than those before.
        """
        scores = self.scores(inputs, attributions, target, additional_forward_args)
        features = sum(m[0].numel() for m in self._feature_shapes(format_inputs(inputs, self._where, finite=False)))
        seen = int(self.n_features)
        if seen not in (0, features):
            raise InputError(
                f"{self._where}: these examples have {features} features and earlier ones {seen}, so n means "
                "different shares of them. Use one metric for each size of input."
            )
        self.n_features = torch.full_like(self.n_features, features)
        self._add(scores)

    @torch.no_grad()
    def scores(
        self, inputs: Any, attributions: Any, target: Target = None, additional_forward_args: object = None
    ) -> Tensor:
        """Return the correlations of each example, shape ``(N, n_points)``, float64.

        Arguments and errors as for :meth:`update`.
        """
        formatted = format_inputs(inputs, self._where)
        given = format_attributions(attributions, self._where)
        require_same_shapes(given, formatted, "attributions and inputs", self._where)
        baselines = format_baselines(self.baselines, formatted, self._where)
        function = self._function(target, additional_forward_args)
        n = len(formatted[0])
        rows = [
            self._curve_of_one(
                function.examples(i, i + 1, n),
                tuple(x[i : i + 1] for x in formatted),
                tuple(b[i : i + 1] for b in baselines),
                tuple(a[i : i + 1].to(x.device) for a, x in zip(given, formatted, strict=True)),
            )
            for i in range(n)
        ]
        return torch.stack(rows)

    def curve(self) -> tuple[Tensor, Tensor]:
        """Return set sizes as fractions of the number of features, and the mean correlation at each, float64.

        With several processes all must call it.

        Raises:
            InputError: If there was no example at all.
        """
        with self._synchronised():
            return self._points(), self._mean()

    def _points(self) -> Tensor:
        features = int(self.n_features)
        return torch.tensor(self.sizes(features)).to(self.total) / features

    def _draw(self, axes: Any, value: float, points: Tensor, curve: Tensor) -> None:
        axes.plot(points, curve, marker="o", markersize=3, label=f"{self._where}: mean {value:.4g}")
        axes.set_xscale("log")
        axes.set_xlabel("share of the features removed")
        axes.set_ylabel("correlation with the drop of the output")
        axes.legend()

    def _feature_shapes(self, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        """Return for each input a view of the shape that a mask of its features has."""
        if self.joint_dim is None:
            return list(inputs)
        for x in inputs:
            if not -x.dim() < self.joint_dim < x.dim():
                raise InputError(
                    f"{self._where}: `joint_dim` is {self.joint_dim}, but an input has shape {tuple(x.shape)}."
                )
        return [x.narrow(self.joint_dim, 0, 1) for x in inputs]

    def _curve_of_one(
        self,
        function: ScalarFunction,
        x: tuple[Tensor, ...],
        baseline: tuple[Tensor, ...],
        attributions: tuple[Tensor, ...],
    ) -> Tensor:
        shapes = [m.shape for m in self._feature_shapes(x)]
        per_feature = torch.cat(
            [
                (a.double() if self.joint_dim is None else a.double().sum(self.joint_dim, keepdim=True)).flatten()
                for a in attributions
            ]
        )
        sizes = self.sizes(len(per_feature))
        different = sorted(set(sizes))
        generator = torch.Generator().manual_seed(example_seed(x, self.seed))
        whole = self._values(function, x)
        sums, magnitudes, values = [], [], []
        at_once = max(1, (self.internal_batch_size or self.n_subsets * len(different)) // len(different))
        for start in range(0, self.n_subsets, at_once):
            count = min(at_once, self.n_subsets - start)
            removed = _nested_sets(len(per_feature), different, count, generator).to(per_feature.device)
            sums.append((removed.double() @ per_feature).reshape(count, -1))
            magnitudes.append((removed.double() @ per_feature.abs()).reshape(count, -1))
            perturbed = tuple(
                torch.where(mask.reshape(-1, *shape[1:]), b, inputs)
                for mask, shape, b, inputs in zip(
                    torch.split(removed, [s.numel() for s in shapes], 1), shapes, baseline, x, strict=True
                )
            )
            values.append(self._values(repeated(function, len(removed)), perturbed).reshape(count, -1))
        outputs = torch.cat(values)
        drops = whole.double() - outputs.double()
        scale = torch.maximum(outputs.abs().amax(0), whole.abs()).double()
        correlations = _correlations(
            torch.cat(sums),
            drops.to(per_feature.device),
            torch.cat(magnitudes).amax(0) * max(torch.finfo(_floating(a)).eps for a in attributions),
            scale.to(per_feature.device) * torch.finfo(outputs.dtype).eps,
            max(torch.finfo(outputs.dtype).eps, *(torch.finfo(_floating(a)).eps for a in attributions)) ** 0.5,
        )
        return correlations[[different.index(n) for n in sizes]]


def _nested_sets(n_features: int, sizes: list[int], count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` × len(sizes) masks, shape ``(rows, n_features)``, those of one draw being nested."""
    # One permutation serves all sizes: its first n entries are a uniformly random set for each n by itself.
    masks = torch.zeros(count, len(sizes), n_features, dtype=torch.bool)
    for draw in masks:
        order = torch.randperm(n_features, generator=generator)
        for mask, n in zip(draw, sizes, strict=True):
            mask[order[:n]] = True
    return masks.reshape(-1, n_features)


def _correlations(sums: Tensor, drops: Tensor, sum_eps: Tensor, drop_eps: Tensor, close: float) -> Tensor:
    """Return the correlation of each column of two ``(n_subsets, n_sizes)`` tensors, as the class defines it."""
    steady = [(t.amax(0) - t.amin(0)) <= 8 * eps for t, eps in ((sums, sum_eps), (drops, drop_eps))]
    centred = [t - t.mean(0) for t in (sums, drops)]
    # Scaled first, so that small numbers do not vanish when they are squared.
    unit = [t / torch.where(t.abs().amax(0) > 0, t.abs().amax(0), 1.0) for t in centred]
    lengths = [torch.linalg.vector_norm(t, dim=0) for t in unit]
    correlation = (unit[0] * unit[1]).sum(0) / (lengths[0] * lengths[1])
    means = [t.mean(0) for t in (sums, drops)]
    tolerance = close * torch.maximum(means[0].abs(), means[1].abs()) + 8 * (sum_eps + drop_eps)
    equal = ((means[0] - means[1]).abs() <= tolerance).double()
    either = steady[0] | steady[1]
    return torch.where(steady[0] & steady[1], equal, torch.where(either, 0.0, correlation.clamp(-1, 1)))


def _floating(a: Tensor) -> torch.dtype:
    return a.dtype if a.dtype.is_floating_point else torch.float64


def _checked_fractions(fractions: Any, where: str) -> tuple[float, ...]:
    points = single_numbers(fractions)
    if not points or not all(0 < f <= 1 for f in points):
        kind = OptionTypeError if points is None else OptionError
        raise kind(f"{where}: `fractions` must be numbers in (0, 1] but is {fractions!r}.")
    return points
