"""The degree that values along a ray show: F(αx) beside αᵏF(x), one estimate and one rounding for every caller.

If F is homogeneous, log(F(αx)/F(x)) / log α is k at every α. Degrees are integers or simple fractions in practice, and
rounding moves the estimate off them: :func:`simple_degree` alone undoes that.

Example: F(x) = 5 and F(2x) = 40.000001 show the degree 3.00000004, which is 3 within a tolerance of 1e-6.

What must never happen: a fit decides. Some degree always fits best; whether F *is* homogeneous of it, its deviation
says, beside the tolerance of the caller. And a value that leaves the range of its dtype counts neither for nor against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._core.simple_fractions import simple_fraction


@dataclass(frozen=True)
class Deviations:
    """F at x and at αx, one tensor each, whose entries share a degree.

    Attributes:
        here: F(x).
        there: α → F(αx).
    """

    here: Tensor
    there: Mapping[float, Tensor]

    def worst(self, degree: float) -> tuple[float, float]:
        """Return the largest deviation from αᵏF(x) over all α, and its α."""
        return max((deviation(there, self.here, scale, degree), scale) for scale, there in self.there.items())


def measure(
    run: Callable[[tuple[Tensor, ...]], Tensor | None],
    here: Tensor,
    inputs: tuple[Tensor, ...],
    scales: Iterable[float],
) -> Deviations:
    """Return F beside F(x), ``here``, at the scales where it runs: elsewhere ``run`` returns None."""
    values = {scale: run(tuple(scale * x for x in inputs)) for scale in scales}
    return Deviations(here, {scale: there for scale, there in values.items() if there is not None})


def fit_degree(deviations: Deviations, tolerance: float) -> float:
    """Return the degree with the smallest worst deviation, of those that single scales show; 1 where none shows any.

    The tolerance is the largest relative deviation that counts as rounding.
    """
    # By the largest entries: they are the ones that rounding moves least.
    size = deviations.here.abs().max().double()
    candidates = []
    for scale, there in deviations.there.items():
        shown = float(shown_degrees(size, there.abs().max().double(), torch.tensor(scale, dtype=torch.float64)))
        # A relative error of F(αx) moves log F(αx)/log α by that much: little for scales far from 1.
        slack = math.log1p(tolerance) / abs(math.log(scale)) + 1e-9
        candidates.append(simple_degree(shown, slack) if math.isfinite(shown) else 1.0)
    return min(candidates, key=lambda k: deviations.worst(k)[0])


def fits_a_degree(deviations: Deviations, limits: torch.finfo) -> bool | None:
    """Return whether F(αx) is αᵏF(x) for some k, up to rounding; None where values leave the range of their dtype."""
    here, there = deviations.here, list(deviations.there.values())
    if any(y.shape != here.shape for y in there) or here.numel() == 0:
        return all(y.shape == here.shape for y in there)
    sizes = [float(y.abs().max()) for y in there]
    # Below the normal range digits are lost, so that what deviates there is the dtype's fault.
    if not all(map(math.isfinite, sizes)) or any(0 < size < limits.tiny for size in sizes):
        return None
    # Coarse dtypes get fewer of their large eps: 64 of bfloat16's would let half of the value pass.
    tolerance = (64 if limits.eps < 1e-4 else 4) * limits.eps
    return deviations.worst(fit_degree(deviations, tolerance))[0] <= tolerance


def shown_degrees(values: Tensor, observed: Tensor, scales: Tensor) -> Tensor:
    """Return log(F(αx)/F(x)) / log α, entry by entry: not finite where that is no degree."""
    return torch.log2(observed / values) / torch.log2(scales)


def simple_degree(degree: float, slack: float) -> float:
    """Return the fraction with a denominator up to 12 that a degree is a rounding of, if there is one so near."""
    return simple_fraction(degree, slack, 12)


def deviation(observed: Tensor, here: Tensor, scale: float, degree: float) -> float:
    """Return the largest |F(αx) − αᵏF(x)| relative to the largest |αᵏF(x)|."""
    if here.numel() == 0:
        return 0.0
    expected = here.double() * power(scale, degree)
    size = float(expected.abs().max())
    difference = float((observed.double() - expected).abs().max())
    # Nothing to be relative to, or nothing to compare: only exact agreement is agreement then.
    if size == 0 or not math.isfinite(size) or math.isnan(difference):
        return 0.0 if difference == 0 else math.inf
    return difference / size


def power(scale: float, degree: float) -> float:
    """Return αᵏ, infinite where that leaves float64."""
    try:
        return float(scale**degree)
    except OverflowError:
        return math.inf
