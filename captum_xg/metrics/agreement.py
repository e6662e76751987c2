"""Agreement of attributions with reference attributions: a base for such metrics, and the paper's difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from captum_xg._core.options import one_of
from captum_xg.metrics.base import MeanOfScores
from captum_xg.metrics.formatting import format_attributions, require_as_many, require_same_shapes
from captum_xg.metrics.protocols import MetricOptions, Tensors

if TYPE_CHECKING:
    from typing_extensions import Unpack

RELEASED_EPSILON = 1e-7


class AgreementMetric(MeanOfScores):
    """Base of the metrics that compare attributions with reference attributions and do not see the model.

    A subclass gives ``scores(attributions, reference)``, one number per example, and ``higher_is_better``; everything
    else that metrics do is done here, and :class:`~captum_xg.metrics.AttributionBenchmark` asks it with the
    attributions of its reference method.

    Args:
        options: Options of :class:`torchmetrics.Metric`.
    """

    compares_attributions: ClassVar[bool] = True

    def scores(self, attributions: Tensors, reference: Tensors) -> Tensor:
        """Return the value of each example, shape ``(N,)``; nothing is accumulated."""
        raise NotImplementedError

    def update(self, attributions: Tensors, reference: Tensors) -> None:
        """Add the examples of one batch.

        Args:
            attributions: Tensor, or tuple of tensors, of shape ``(N, …)``.
            reference: The attributions to compare with, of the same shapes.

        Raises:
            InputError: If shapes differ or a number is NaN or infinite.
        """
        self._add(self.scores(attributions, reference))

    def rows(self, attributions: Tensors, reference: Tensors) -> tuple[Tensor, Tensor]:
        """Return both as float64 of shape ``(N, n)``, all inputs side by side, on the device of the attributions.

        Raises:
            InputError: If shapes differ or a number is NaN or infinite.
        """
        given = format_attributions(attributions, self._where)
        wanted = format_attributions(reference, self._where, "reference")
        require_same_shapes(given, wanted, "attributions and reference", self._where)
        require_as_many(given, len(given[0]), self._where)
        first, second = (torch.cat([a.double().reshape(len(a), -1) for a in group], 1) for group in (given, wanted))
        return first, second.to(first.device)


class MeanAbsoluteRelativeDifference(AgreementMetric):
    r"""The mean over features and examples of \|reference − attribution\| / \|reference\|; 0 is perfect agreement.

    .. math:: d = \frac{1}{n|X|} \sum_{x \in X} \sum_{i=1}^n \frac{|R_i(x) - A_i(x)|}{|R_i(x)|}

    The paper's reference R is Integrated Gradients against zero. The result is a fraction; the paper's Table 2 gives
    percent, 100 times as much.

    Where the reference is 0: an attribution of 0 agrees, contributes 0 and is counted among the n features. Any other
    attribution is infinitely far off relative to 0, and the mean is infinite, as the formula says. ``infinite``
    counts such features. To look past them use ``protocol="released"``, which compares magnitudes.

    ``protocol="released"`` is what the paper's published code computes, another quantity: the mean over *batches* B of

    .. math:: \frac{\operatorname{mean}_B |R - A|}{\operatorname{mean}_B |R| + 10^{-7}}

    with means over all examples and features of a batch. It is finite always; it depends on the batches, a short last
    one counts as much as a full one, and for small attributions 10⁻⁷ lowers it.

    Args:
        protocol: ``"paper"`` or ``"released"``.
        options: Options of :class:`torchmetrics.Metric`.

    Raises:
        OptionError: If there is no such protocol.

    Source: Hesse et al. 2021, Appendix B.1, Eq. 14, and their published code.

    Example:
        >>> metric = MeanAbsoluteRelativeDifference()
        >>> metric.update(torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 4.0]]))
        >>> metric.compute()
        tensor(0.3750, dtype=torch.float64)
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    unit = "mean |reference − attribution| / |reference|"

    infinite: Tensor

    def __init__(self, protocol: Literal["paper", "released"] = "paper", **options: Unpack[MetricOptions]) -> None:
        super().__init__(**options)
        self.protocol = one_of(protocol, ("paper", "released"), "protocol", self._where)
        self.add_state("infinite", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, attributions: Tensors, reference: Tensors) -> None:
        """Add the examples of one batch; arguments and errors as in :meth:`AgreementMetric.update`."""
        given, wanted = self.rows(attributions, reference)
        self.infinite = self.infinite + ((wanted == 0) & (given != 0)).sum().to(self.infinite)
        if self.protocol == "paper":
            self._add(_mean_of_ratios(given, wanted))
        else:  # one number for the batch, which counts as one example
            self._add(_ratio_of_means(given.reshape(1, -1), wanted.reshape(1, -1)))

    def scores(self, attributions: Tensors, reference: Tensors) -> Tensor:
        """Return the value of each example, shape ``(N,)``, float64.

        With ``protocol="released"`` these are the values for batches of one, and the metric is their mean only if it
        was updated with batches of one.

        Raises:
            InputError: If shapes differ or a number is NaN or infinite.
        """
        given, wanted = self.rows(attributions, reference)
        return _mean_of_ratios(given, wanted) if self.protocol == "paper" else _ratio_of_means(given, wanted)


def _mean_of_ratios(given: Tensor, wanted: Tensor) -> Tensor:
    difference = (wanted - given).abs()
    return torch.where(difference == 0, 0.0, difference / wanted.abs()).mean(1)


def _ratio_of_means(given: Tensor, wanted: Tensor) -> Tensor:
    return (wanted - given).abs().mean(1) / (wanted.abs().mean(1) + RELEASED_EPSILON)
