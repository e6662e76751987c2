"""Sensitivity-n: do the attributions of a set of features add up to what the output loses without these features?

For each example the model is run on ``n_subsets`` random sets of every size. The invariants: the sets belong to the
example (a generator seeded with its values), so that methods, batches and processes see the same ones; and the sets of
one draw are nested, which makes one permutation serve all sizes. What must never happen: that rounding passes for
correlation. Where one side is the same for all sets up to its own rounding, the value is 0 or 1 by the definition in
the class, not the quotient of two noises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_xg._core.function import ScalarFunction
from captum_xg._core.inputs import format_inputs
from captum_xg._core.options import integer, positive_integer, single_numbers
from captum_xg._core.seeding import checked_seed, example_seed
from captum_xg._core.types import ForwardFunction, Target
from captum_xg.errors import InputError, OptionError, OptionTypeError
from captum_xg.metrics.curve_metric import CurveMetric
from captum_xg.metrics.formatting import Baselines, checked_baselines, format_baselines
from captum_xg.metrics.masking.features import Features
from captum_xg.metrics.protocols import MetricOptions, Tensors

if TYPE_CHECKING:
    from typing_extensions import Unpack

N_POINTS = 10
LARGEST_FRACTION = 0.8
_EPS = torch.finfo(torch.float64).eps


class SensitivityN(CurveMetric):
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
        fractions: Of the features that are *removed* (in the masking metrics it is those kept), in (0, 1]: set sizes,
            rounded to at least one feature. By default 10 sizes, evenly spaced on a logarithmic scale from one feature
            to 80 % of them; where there are few features sizes occur repeatedly.
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
    x_label = "fraction of features removed"
    x_scale = "log"
    value_name = "mean"

    n_features: Tensor

    def __init__(
        self,
        forward_func: ForwardFunction,
        fractions: Sequence[float] | None = None,
        *,
        n_subsets: int = 100,
        baselines: Baselines = None,
        joint_dim: int | None = None,
        seed: int = 0,
        internal_batch_size: int | None = 64,
        **options: Unpack[MetricOptions],
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
        self, inputs: Tensors, attributions: Tensors, target: Target = None, additional_forward_args: object = None
    ) -> None:
        """Add examples; arguments and errors as for every metric that runs the model.

        Raises:
            InputError: Besides, if the examples have another number of features than those before.
        """
        scores = self.scores(inputs, attributions, target, additional_forward_args)
        features = sum(self._features(format_inputs(inputs, self._where, finite=False)).sizes)
        seen = int(self.n_features)
        if seen not in (0, features):
            raise InputError(
                f"{self._where}: these examples have {features} features and earlier ones {seen}, so n means "
                "different shares of them. Use one metric for each size of input."
            )
        self.n_features = torch.full_like(self.n_features, features)
        self._add(scores)

    def _scored(self, function: ScalarFunction, inputs: tuple[Tensor, ...], attributions: tuple[Tensor, ...]) -> Tensor:
        baselines = format_baselines(self.baselines, inputs, self._where)
        curves = []
        for i, (x, own) in enumerate(function.parts(inputs, 1)):
            baseline, given = (tuple(t[i : i + 1] for t in several) for several in (baselines, attributions))
            curves.append(self._curve_of_one(own, x, baseline, given))
        return torch.stack(curves)

    def points(self) -> Tensor:
        """Return the set sizes as fractions of the number of features of the examples so far."""
        features = int(self.n_features)
        return torch.tensor(self.sizes(features)).to(self.total) / features

    def _features(self, inputs: tuple[Tensor, ...]) -> Features:
        return Features.of(inputs, self.joint_dim, self._where, "joint_dim")

    def _curve_of_one(
        self,
        function: ScalarFunction,
        x: tuple[Tensor, ...],
        baseline: tuple[Tensor, ...],
        attributions: tuple[Tensor, ...],
    ) -> Tensor:
        features = self._features(x)
        per_feature = torch.cat(
            [
                (a.double() if channel is None else a.double().sum(channel)).flatten()
                for a, channel in zip(attributions, features.channels, strict=True)
            ]
        ).to(x[0].device)
        sizes = self.sizes(len(per_feature))
        different = sorted(set(sizes))
        generator = torch.Generator().manual_seed(example_seed(x, self.seed))
        whole = self._values(function, x).double()
        sums, magnitudes, values = [], [], []
        at_once = max(1, (self.internal_batch_size or self.n_subsets * len(different)) // len(different))
        for start in range(0, self.n_subsets, at_once):
            count = min(at_once, self.n_subsets - start)
            removed = _nested_sets(len(per_feature), different, count, generator).to(per_feature.device)
            sums.append((removed.double() @ per_feature).reshape(count, -1))
            magnitudes.append((removed.double() @ per_feature.abs()).reshape(count, -1))
            masks = features.over_channels(features.spread(removed))
            without = tuple(torch.where(m, b, t) for m, b, t in zip(masks, baseline, x, strict=True))
            values.append(self._values(function.repeat(len(removed)), without).reshape(count, -1))
        outputs = torch.cat(values)
        drops = (whole - outputs.double()).to(per_feature)
        scale = torch.maximum(outputs.abs().amax(0).double(), whole.abs()).to(per_feature)
        # The precision of the attributions is that of the coarsest: several inputs may differ in it.
        coarsest = max(torch.finfo(a.dtype).eps if a.is_floating_point() else _EPS for a in attributions)
        correlations = _correlations(
            torch.cat(sums),
            drops,
            torch.cat(magnitudes).amax(0) * coarsest,
            scale * torch.finfo(outputs.dtype).eps,
            max(torch.finfo(outputs.dtype).eps, coarsest) ** 0.5,
        )
        return correlations[[different.index(n) for n in sizes]]


def _nested_sets(n_features: int, sizes: list[int], count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` × len(sizes) masks, shape ``(rows, n_features)``, those of one draw being nested."""
    # One permutation serves all sizes: its first n entries are a uniformly random set for each n by itself.
    orders = torch.stack([torch.randperm(n_features, generator=generator) for _ in range(count)])
    return (orders.argsort(1)[:, None] < torch.tensor(sizes)[:, None]).reshape(-1, n_features)


def _correlations(sums: Tensor, drops: Tensor, sum_eps: Tensor, drop_eps: Tensor, close: float) -> Tensor:
    """Return the correlation of each column of two ``(n_subsets, n_sizes)`` tensors, as the class defines it.

    Not :func:`torchmetrics.functional.pearson_corrcoef`, which warns of a constant side and gives NaN for it.

    Args:
        sums: Σ A over each set.
        drops: F(x) − F(x without the set).
        sum_eps: Rounding of the sums, for each size.
        drop_eps: Rounding of the drops, for each size.
        close: By how much of their size two constants may differ and be equal.
    """
    both = (sums, drops)
    steady = [(t.amax(0) - t.amin(0)) <= 8 * eps for t, eps in zip(both, (sum_eps, drop_eps), strict=True)]
    centred = [t - t.mean(0) for t in both]
    # Scaled first, so that small numbers do not vanish when they are squared.
    unit = [t / torch.where(t.abs().amax(0) > 0, t.abs().amax(0), 1.0) for t in centred]
    correlation = torch.cosine_similarity(unit[0], unit[1], dim=0, eps=0.0).clamp(-1, 1)
    first, second = (t.mean(0) for t in both)
    tolerance = close * torch.maximum(first.abs(), second.abs()) + 8 * (sum_eps + drop_eps)
    equal = ((first - second).abs() <= tolerance).double()
    return torch.where(steady[0] & steady[1], equal, torch.where(steady[0] | steady[1], 0.0, correlation))


def _checked_fractions(fractions: object, where: str) -> tuple[float, ...]:
    points = single_numbers(fractions)
    if not points or not all(0 < f <= 1 for f in points):
        kind = OptionTypeError if points is None else OptionError
        raise kind(f"{where}: `fractions` must be numbers in (0, 1] but is {fractions!r}.")
    return points
