"""The rule on cells for integrands with about as many jumps as there are points: F tells where in its cell one is.

If a piecewise constant integrand jumps once in a cell, by D, and its sum of entries by d, then the integral of the sum,
which F tells, says at which place: what the trapezoidal rule misses of it, by d, is the distance from the middle. The
rows are then integrated exactly. With several jumps in a cell that is as good as the largest outweighs the others.

How good is seen rather than assumed: two neighbouring cells are taken for one, and its integral is compared with the
sum of both. Halving the cells lessens the error by the power 3/2 of the width at least.

Example: 60 kinks and 40 points. The rule of :mod:`captum_xg.attr.adaptive.cells` errs by twice as much.

What must never happen: a jump is placed outside of its cell. What F tells beyond that counts as an error.
"""

from __future__ import annotations

import numpy as np

from captum_xg.attr.adaptive.cells import (
    CellEstimate,
    around,
    beyond,
    outer_energies,
    row_by_sum,
    trapezoid,
    unwitnessed,
)
from captum_xg.attr.adaptive.samples import Array, Samples

_HIDDEN = 0.25
"""The share of the error of a rule without F that cells may have where neither F nor their neighbours show one."""


def jump_estimate(samples: Samples) -> CellEstimate:
    """Return the integrals with one jump in each cell, and what they may err by. There must be at least four points."""
    widths, inner = samples.widths, samples.widths[:, 1:-1]
    slopes, change = np.diff(samples.sums), np.diff(samples.values)
    near = samples.near
    squares = np.maximum(near[:, :, 2, 2] + near[:, :, 3, 3] - 2 * near[:, :, 2, 3], 0.0)
    scale = row_by_sum(squares, slopes, samples.features)[:, None] ** 2
    missed = samples.beyond_rounding(change[:, 1:-1] - inner * (samples.sums[:, 1:] + samples.sums[:, :-1]) / 2)
    shifts = _shifts(missed, slopes, inner)
    weights = trapezoid(widths)
    weights[:, :-1] -= shifts
    weights[:, 1:] += shifts
    left = scale * (missed - shifts * slopes) ** 2
    seen = _by_merging(samples, shifts) + left + _HIDDEN * _smoothed(squares, inner) * inner**3 / 12
    outside = widths[:, [0, -1]] * samples.sums[:, [0, -1]]
    gaps = samples.beyond_rounding(change[:, [0, -1]] - outside)
    explained = outer_energies(squares, widths)
    outer = (explained + scale * gaps**2) / 2 + beyond(samples)
    energies = np.concatenate([outer[:, :1], seen, outer[:, 1:]], axis=1)
    error, blind = np.sqrt(energies.sum(1)), unwitnessed(gaps, explained)
    energies[:, [0, -1]] += blind
    hidden = np.sqrt(np.maximum((squares * inner**2).max(1) / 12, blind.max(1)))
    return CellEstimate(weights, error, samples.norm(weights), energies + 1e-300, hidden)


def _shifts(missed: Array, slopes: Array, widths: Array) -> Array:
    """Return how far from the middle of its cell, to the left, each jump is."""
    sizes = np.abs(slopes)
    known = sizes > 1e-9 * sizes.max(1, initial=0.0, keepdims=True)
    found: Array = np.where(known, missed / np.where(known, slopes, 1.0), 0.0)
    return np.clip(found, -widths / 2, widths / 2)


def _by_merging(samples: Samples, shifts: Array) -> Array:
    """Return the squared errors of the inner cells as told by the difference that leaving out a point makes."""
    inner = samples.widths[:, 1:-1]
    left, right = inner[:, :-1], inner[:, 1:]
    merged, sums, values = left + right, samples.sums, samples.values[:, 1:-1]
    missed = samples.beyond_rounding(values[:, 2:] - values[:, :-2] - merged * (sums[:, 2:] + sums[:, :-2]) / 2)
    shift = _shifts(missed, sums[:, 2:] - sums[:, :-2], merged)
    weights = (
        right / 2 - shift + shifts[:, :-1],
        -merged / 2 - shifts[:, :-1] + shifts[:, 1:],
        left / 2 + shift - shifts[:, 1:],
    )
    # Rows i, i + 1 and i + 2 are the third to the fifth of those around cell i.
    local = samples.near[:, :-1]
    squares = np.zeros_like(merged)
    for a, one in enumerate(weights):
        for c, other in enumerate(weights):
            squares += one * other * local[:, :, 2 + a, 2 + c]
    squares = np.maximum(squares, 0.0)
    energies, told = np.zeros_like(inner), np.zeros(inner.shape[1])
    for cells, own in ((slice(None, -1), left), (slice(1, None), right)):
        energies[:, cells] += squares * (own / merged) ** 3
        told[cells] += 1
    found: Array = energies / told
    return found


def _smoothed(squares: Array, inner: Array) -> Array:
    """Return the squares of differences by width, as the cells around have them."""
    kernel = (0.1, 0.2, 0.4, 0.2, 0.1)
    return around(squares, kernel) / around(inner, kernel)
