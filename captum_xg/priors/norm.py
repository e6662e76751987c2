"""Small attributions, by an L^p norm."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_xg._core.options import single_number
from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.priors.base import AttributionPrior
from captum_xg.priors.shapes import feature_dims, peak, root_of_sum


class LpNorm(AttributionPrior):
    r"""The mean over examples of the L^p norm of all attributions of one.

    .. math:: \Omega(A) = \frac{1}{N} \sum_{x} \Big(\sum_i |A_i(x)|^p\Big)^{1/p}, \qquad
              \Omega(A) = \frac{1}{N} \sum_{x} \max_i |A_i(x)| \quad (p = \infty)

    Range: 0, where all are zero, to ∞. Degree 1. Where it has no derivative it gives a defined one, never NaN: zero for
    an example without attributions, a zero share for a zero feature, equal shares for equal largest ones (p = ∞). The
    second derivative is taken as zero where it is infinite (1 < p < 2, at a zero feature).

    Args:
        p: A number ≥ 1, or ``math.inf``.

    Shapes: attributions ``(N, …)``.

    Raises:
        OptionError: If p is not such a number.

    Source: for p = 1 the penalty of Tibshirani 1996, *Regression shrinkage and selection via the lasso*, here of
    attributions instead of coefficients: it makes them sparse.
    """

    def __init__(self, p: float = 1) -> None:
        super().__init__()
        number = single_number(p)
        if number is None or not number >= 1:
            kind = OptionTypeError if number is None else OptionError
            raise kind(f"LpNorm: `p` must be a number ≥ 1 or math.inf but is {p!r}; below 1 there is no norm.")
        self.p = number

    def penalty(self, attributions: Tensor) -> Tensor:
        """Return the mean norm."""
        dims = feature_dims(attributions)
        largest = peak(attributions, dims)
        # A norm is of degree 1, so the constant taken out comes back as a factor.
        scaled = (attributions / largest).reshape(len(attributions), -1)
        return (largest.reshape(-1) * _norm(scaled, self.p)).mean()

    def extra_repr(self) -> str:
        """Return p."""
        return f"p={self.p:g}"


def _norm(rows: Tensor, p: float) -> Tensor:
    if p == 1:
        return rows.abs().sum(1)
    if math.isinf(p):
        return rows.abs().amax(1)
    if p == 2:
        return root_of_sum(rows.square().sum(1), 2)
    # |x|^p has derivatives at 0 that pow gives as 0 · ∞.
    zero = rows == 0
    powers = torch.where(zero, torch.ones_like(rows), rows).abs().pow(p)
    return root_of_sum(torch.where(zero, torch.zeros_like(rows), powers).sum(1), p)
