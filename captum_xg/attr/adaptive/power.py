"""Integrals of a power of α from two points: what the integrand of a homogeneous network is, against zero."""

from __future__ import annotations

import numpy as np

from captum_xg.attr.adaptive.samples import Estimate, Samples

_EXACT = 1e-3
"""The largest relative deviation from a power that counts as rounding. Whatever deviates more is no power."""


def power_estimate(samples: Samples) -> Estimate:
    """Return the integrals where the rows at the outer points and F tell that the integrand is c·αᵖ, p ≥ 0.

    If F(αx) = αᵏF(x), then a(α) = αᵏ⁻¹a(1), and every value of F on the path must say so as well. Where it is no such
    power, the error is infinite.
    """
    low, high = samples.points[:, 0], samples.points[:, -1]
    first, mixed, last = samples.gram[:, 0, 0], samples.gram[:, 0, -1], samples.gram[:, -1, -1]
    possible = (mixed > 0) & (first > 0) & (last > 0)
    ratio = np.divide(mixed, first, out=np.ones_like(mixed), where=possible)
    power = np.log(ratio) / np.log(high / low)
    possible &= power >= -_EXACT
    power = np.where(possible, power, 0.0)
    factor = (high / low) ** power
    deviation = np.sqrt(np.maximum(last - 2 * factor * mixed + factor**2 * first, 0.0))
    deviation /= np.sqrt(np.where(possible, last, 1.0))
    weights = np.zeros(samples.points.shape)
    weights[:, -1] = high**-power / (power + 1)
    norm = samples.norm(weights)
    places = np.concatenate([samples.points, np.ones((len(low), 1))], axis=1)
    expected = (samples.sums[:, -1] * weights[:, -1])[:, None] * places ** (power + 1)[:, None]
    gaps = np.abs(samples.beyond_rounding(samples.values[:, 1:] - samples.values[:, :1] - expected))
    error = np.hypot(deviation * norm, gaps.max(1))
    return Estimate(weights, np.where(possible & (error <= _EXACT * norm), error, np.inf), norm)
