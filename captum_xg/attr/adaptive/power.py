"""Integrals of a power of α from two points: what the integrand of a homogeneous network is, against zero."""

from __future__ import annotations

import numpy as np

from captum_xg.attr.adaptive.samples import Estimate, Samples

_EXACT = 1e-3
"""The largest relative deviation from a power that counts as rounding. Whatever deviates more is no power."""


def power_estimate(samples: Samples) -> Estimate | None:
    """Return the integral if the rows at the outer points and F tell that the integrand is c·αᵖ, p ≥ 0; else None.

    If F(αx) = αᵏF(x), then a(α) = αᵏ⁻¹a(1), and every value of F on the path must say so as well.
    """
    low, high = float(samples.points[0]), float(samples.points[-1])
    first, mixed, last = samples.gram[0, 0], samples.gram[0, -1], samples.gram[-1, -1]
    if mixed <= 0 or first <= 0:
        return None
    power = float(np.log(mixed / first) / np.log(high / low))
    if power < -_EXACT:
        return None
    factor = (high / low) ** power
    deviation = np.sqrt(max(last - 2 * factor * mixed + factor**2 * first, 0.0)) / np.sqrt(last)
    weights = np.zeros(len(samples.points))
    weights[-1] = high**-power / (power + 1)
    norm = samples.norm(weights)
    places = np.concatenate([samples.points, [1.0]])
    expected = samples.sums[-1] * weights[-1] * places ** (power + 1)
    gaps = np.abs(samples.beyond_rounding(samples.values[1:] - samples.values[0] - expected))
    error = float(np.hypot(deviation * norm, gaps.max()))
    return Estimate(weights, error, norm) if error <= _EXACT * norm else None
