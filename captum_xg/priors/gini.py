"""Sparse attributions: few features with much, by the Gini coefficient."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from captum_xg._core.distributed import Group, checked_group, largest_over_processes
from captum_xg._core.options import one_of, switch
from captum_xg.priors.base import AttributionPrior
from captum_xg.priors.shapes import divisor, feature_dims, mean_absolute, peak, share


class GiniSparsity(AttributionPrior):
    r"""Minus the Gini coefficient of the absolute attributions, small where few features have most of them.

    .. math:: \Omega(A) = -G(a), \qquad
              G(a) = \frac{\sum_{i=1}^n \sum_{j=1}^n |a_i - a_j|}{2 n \sum_{i=1}^n a_i}

    with a = mean over the batch of \|A\| for all n features (``over="batch"``), or with the mean over examples of each
    one's own −G(\|A\|) (``over="example"``).

    Range: −(1 − 1/n), where one feature has everything, to 0, where all are equal; 0 with zero gradient if all are zero
    or there is but one feature. Degree 0: unchanged if all attributions are multiplied by a number (``over="example"``:
    one for each example).

    The normalisation is that of the paper's released code and of Erion et al. The paper's formula divides by m·Σa
    instead of 2n·Σa, with m the size of the mini-batch: λ there is λ·2n/m here. It also speaks of the mean attribution,
    where the released code takes absolute values before the mean, as here.

    It takes O(n log n), by sorting: Σᵢ Σⱼ \|aᵢ − aⱼ\| = 2 Σᵢ cᵢ aᵢ, cᵢ the number of smaller features minus that of
    larger ones. Where features are equal, the gradient is that of the pairwise form with d\|0\| = 0.

    Args:
        over: ``"batch"`` or ``"example"``.
        across_processes: With torch.distributed, take the mean over the examples of all processes, which must then all
            call it; gradients averaged as by DistributedDataParallel are then those of one process with the whole
            batch. For ``over="example"`` there is nothing to do: averaging gradients is averaging the prior.
        process_group: The processes that share a batch; all if None.

    Shapes: attributions ``(N, …)``; the n features are all dimensions but the first.

    Raises:
        OptionError: If an option has no such value.

    Source: Hesse et al. 2021, Appendix B.3; Erion et al. 2021, *Improving performance of deep learning models with
    axiomatic attribution priors and expected gradients* (sparsity prior).
    """

    def __init__(
        self, over: Literal["batch", "example"] = "batch", *, across_processes: bool = True, process_group: Group = None
    ) -> None:
        super().__init__()
        self.over = one_of(over, ("batch", "example"), "over", "GiniSparsity")
        self.across_processes = switch(across_processes, "across_processes", "GiniSparsity")
        self.process_group = checked_group(process_group, "GiniSparsity")

    def penalty(self, attributions: Tensor) -> Tensor:
        """Return −G of the batch mean, or the mean of −G."""
        if self.over == "batch":
            # Divided first: behind the absolute value, a gradient that overflows would meet its zero slope and be NaN.
            scaled = attributions / self._peak(attributions)
            return -gini(mean_absolute(scaled, self.across_processes, self.process_group))
        scaled = attributions / peak(attributions, feature_dims(attributions))
        return -gini(scaled.abs().reshape(len(attributions), -1)).mean()

    def _peak(self, attributions: Tensor) -> Tensor:
        """Return the largest magnitude in the batch, the same on all its processes."""
        largest = attributions.detach().abs().amax()
        if self.across_processes:
            largest = largest_over_processes(largest, self.process_group)
        return divisor(largest)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"over={self.over!r}, across_processes={self.across_processes}"


def gini(values: Tensor) -> Tensor:
    """Return the Gini coefficient of non-negative values over the last dimension; 0 if all are zero."""
    n = values.shape[-1]
    # Ranks do not change with small changes of the values: they are constants in every derivative.
    weights = _smaller_minus_larger(values.detach()).to(values.dtype) / n
    return share((weights * values).sum(-1), values.sum(-1))


def _smaller_minus_larger(values: Tensor) -> Tensor:
    """Return for every value how many others are smaller, minus how many are larger, in the last dimension."""
    n = values.shape[-1]
    ordered, order = values.sort(-1)
    places = torch.arange(n, device=values.device).expand_as(order)
    # A value occurs from the last place where a new one begins to the next place where one ends.
    new = ordered[..., 1:] != ordered[..., :-1]
    edge = torch.ones_like(ordered[..., :1], dtype=torch.bool)
    smaller = torch.where(torch.cat([edge, new], -1), places, 0).cummax(-1).values
    last = torch.where(torch.cat([new, edge], -1), places, n).flip(-1).cummin(-1).values.flip(-1)
    return torch.empty_like(order).scatter(-1, order, smaller - (n - 1 - last))
