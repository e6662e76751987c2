"""Completeness gap: what attributions miss of the change of the output that they should add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_xg._core.function import ScalarFunction
from captum_xg._core.options import switch
from captum_xg._core.types import ForwardFunction
from captum_xg.metrics.base import ModelMetric
from captum_xg.metrics.formatting import Baselines, checked_baselines, format_baselines, require_as_many
from captum_xg.metrics.protocols import MetricOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


class CompletenessGap(ModelMetric):
    r"""The mean over examples of \|Σ attributions − (F(x) − F(b))\|; 0 for complete attributions.

    .. math:: g(x) = \Big| \sum_i A_i(x) - \big(F(x) - F(b)\big) \Big|
              \qquad \text{relative:}\quad \frac{g(x)}{|F(x) - F(b)|}

    In units of the output, or with ``relative=True`` as a fraction of the change that was to be distributed. Where
    F(x) = F(b), the relative gap is 0 if the attributions sum to exactly 0, and infinite if they do not, and so is
    then the mean. Sums are taken in float64, the outputs as the model gives them: attributions in float32 leave a gap
    of some 10⁻⁷ of Σ\|A\|. Attributions may have any shape ``(N, …)``, those of a layer too.

    Args:
        forward_func: A module or any callable that gives one number per example once a target is chosen.
        baselines: The b that the attributions refer to: None for zeros, a number, a tensor of the input's shape or
            with 1 in place of N, a callable from an input to such a tensor, or a tuple of these for several inputs.
        relative: Divide by \|F(x) − F(b)\|, example by example.
        internal_batch_size: The most examples in one forward pass. All at once if None.
        options: Options of :class:`torchmetrics.Metric`.

    Raises:
        OptionError: If an option has no such value.

    Source: Sundararajan et al. 2017, Proposition 1 (completeness).

    Example:
        >>> metric = CompletenessGap(lambda x: x.sum(1))
        >>> metric.update(torch.ones(4, 3), torch.full((4, 3), 0.5))
        >>> metric.compute()
        tensor(1.5000, dtype=torch.float64)
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(
        self,
        forward_func: ForwardFunction,
        baselines: Baselines = None,
        relative: bool = False,
        *,
        internal_batch_size: int | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(forward_func, internal_batch_size=internal_batch_size, **options)
        self.baselines = checked_baselines(baselines, self._where)
        self.relative = switch(relative, "relative", self._where, numbers=False)
        self.unit = "|Σ attributions − (F(x) − F(b))|" + " / |F(x) − F(b)|" * self.relative

    def _require_fit(self, attributions: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> None:
        require_as_many(attributions, len(inputs[0]), self._where)

    def _scored(self, function: ScalarFunction, inputs: tuple[Tensor, ...], attributions: tuple[Tensor, ...]) -> Tensor:
        baselines = format_baselines(self.baselines, inputs, self._where)
        change = self._values(function, inputs).double() - self._values(function, baselines).double()
        total = torch.stack([a.to(change).reshape(len(a), -1).sum(1) for a in attributions]).sum(0)
        gap = (total - change).abs()
        return torch.where(gap == 0, 0.0, gap / change.abs()) if self.relative else gap
