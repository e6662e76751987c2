"""The trapezoidal rule on cells of any width, for integrands that jump, with an error estimate that knows jumps.

A jump Δ at a place that is unknown within a cell of width h displaces the integral by Δ times a number that is
uniform in ±h/2. Displacements of many jumps add up like noise, so that the squared error is Σ h²·|D|²/12 over the
cells, D being the difference of the rows at their ends. Three refinements:

* What changes smoothly is no noise. The differences are freed of the trend that their neighbours tell before they
  are squared, and the curvature, which errs in one direction, is corrected for (the Euler–Maclaurin term by cell).
* F tells the error of the sum of entries in each cell exactly. As far as the differences D and their sums d go
  together, by a regression of D on d, the same is known of the rows.
* Where F changes by far more than the rows at both ends of a cell explain, something lies inside that no row has seen,
  such as all of the integrand behind a LayerNorm with a tiny eps. That share of the error is blind, as is what lies
  between the outermost row and the end that rows grow towards.

Example: a network with 300 kinks on the path and 50 points. No rule of a high order does better than this one there.

What must never happen: a correction that is larger than what it may correct, where sums of entries cancel: then the
scalar witness says little, and nothing is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from captum_xg.attr.adaptive.combinations import Combinations
from captum_xg.attr.adaptive.samples import REACH, Array, Estimate, Flags, Samples

_REACH = 3.0
"""The most by which an error of a sum of entries is scaled up to one of the row."""
_GROWTH = 0.3
"""The power from which on growth towards an end is no accident of jumps."""
_ALIKE = 8.0
"""The largest ratio of the widths of two cells that may tell of each other's slopes."""
_POOL = 3.0
"""Weight of the regression over all cells, beside that of a cell and of each of its neighbours, which is 1."""


@dataclass(frozen=True)
class CellEstimate(Estimate):
    """The rule on cells, and where its errors come from.

    Attributes:
        energies: Squared error by cell, of all n + 1, for whoever decides which to split, shape ``(B, n + 1)``.
        hidden: What the error may be beside that, ``(B,)``: where several jumps in one cell pass for one, which is
            seldom, and then no matter of a mean over cells. It counts in what is claimed, not in which rule is best.
    """

    energies: Array
    hidden: Array

    @property
    def claimed(self) -> Array:
        """Both together, which is what has to be within the tolerance."""
        found: Array = np.hypot(self.error, self.hidden)
        return found


def cell_estimate(samples: Samples) -> CellEstimate:
    """Return the integrals by cells, with what they may err by. There must be at least four points."""
    widths, inner = samples.widths, samples.widths[:, 1:-1]
    differences = _differences(inner.shape)
    slopes = np.diff(samples.sums)
    missed = _missed(samples)
    squares = _without_trend(differences, inner).squares(samples)
    energies = _energies(squares, widths)
    weights = trapezoid(widths)
    if (correction := _regression(samples, differences, slopes, missed, energies)) is not None:
        of_it = correction.applies[:, None]
        weights = np.where(of_it, weights + correction.weights, weights)
        squares = np.where(of_it, correction.squares, squares)
        energies = _energies(squares, widths)
    bend = _curvature(widths)
    curved = samples.norm(bend)
    weights = weights + bend
    near = samples.near
    plain = np.maximum(near[:, :, 2, 2] + near[:, :, 3, 3] - 2 * near[:, :, 2, 3], 0.0)
    scale = row_by_sum(plain, slopes, samples.features)
    blind = (scale[:, None] * missed) ** 2
    blind = np.maximum(blind - 9 * energies - 0.5 * energies.mean(1, keepdims=True), 0.0)
    blind[:, [0, -1]] += beyond(samples)
    error = np.sqrt(energies.sum(1) + blind.sum(1) + curved**2 / 16)
    spread = np.maximum(_spread(squares, energies, inner), blind) + 1e-300
    outer = unwitnessed(missed[:, [0, -1]], energies[:, [0, -1]])
    spread[:, [0, -1]] += outer
    return CellEstimate(weights, error, samples.norm(weights), spread, np.sqrt(outer.max(1)))


def trapezoid(widths: Array) -> Array:
    """Return the weights of the trapezoidal rule, constant beyond the outer points: midpoints, if cells are equal."""
    weights: Array = (widths[:, 1:] + widths[:, :-1]) / 2
    weights[:, 0] += widths[:, 0] / 2
    weights[:, -1] += widths[:, -1] / 2
    return weights


def row_by_sum(squares: Array, slopes: Array, features: int) -> Array:
    """Return how large rows are beside the sums of their entries, as differences of rows have it, shape ``(B,)``.

    Args:
        squares: Squared norms of the differences.
        slopes: The sums of their entries.
        features: How many entries there are: a row is never smaller than its sum by more than their root.
    """
    seen = (slopes**2).sum(1)
    # Of rows that do not differ nothing is known.
    ratio = np.sqrt(np.divide(squares.sum(1), seen, out=np.full_like(seen, np.inf), where=seen > 0))
    found: Array = np.clip(ratio, features**-0.5, _REACH)
    return found


def around(values: Array, kernel: tuple[float, ...]) -> Array:
    """Return means over neighbouring cells with these weights, of which there is an odd number."""
    cells, reach = values.shape[1], len(kernel) // 2
    padded = np.empty((len(values), cells + 2 * reach))
    padded[:, :reach], padded[:, reach : cells + reach], padded[:, cells + reach :] = (
        values[:, :1],
        values,
        values[:, -1:],
    )
    total = kernel[0] * padded[:, :cells]
    for k, weight in enumerate(kernel[1:], start=1):
        total += weight * padded[:, k : k + cells]
    return total


def _differences(shape: tuple[int, ...]) -> Combinations:
    near = np.zeros((*shape, REACH))
    near[:, :, 2], near[:, :, 3] = -1.0, 1.0
    return Combinations(near)


def _missed(samples: Samples) -> Array:
    """Return by how much the rule misses the sum of entries in each cell."""
    widths, sums = samples.widths, samples.sums
    both = np.concatenate([2 * sums[:, :1], sums[:, 1:] + sums[:, :-1], 2 * sums[:, -1:]], axis=1)
    return samples.beyond_rounding(np.diff(samples.values) - widths * both / 2)


def _without_trend(differences: Combinations, inner: Array) -> Combinations:
    """Return the differences less what their neighbours' slopes predict, scaled to the size of pure noise."""
    before, after = np.zeros_like(inner), np.zeros_like(inner)
    before[:, 1:], after[:, :-1] = inner[:, 1:] / inner[:, :-1], inner[:, :-1] / inner[:, 1:]
    share = np.full(inner.shape[1], 0.5)
    share[[0, -1]] = 1.0
    # Noise has a variance that is proportional to the width; slopes of neighbours bring theirs with them.
    variance = 1 + share**2 * (before + after)
    trend = differences.shifted(-1).scaled(-share * before).plus(differences.shifted(1).scaled(-share * after))
    return differences.plus(trend).scaled(variance**-0.5)


def _energies(squares: Array, widths: Array) -> Array:
    """Return the squared error of each cell."""
    energies = np.empty_like(widths)
    energies[:, 1:-1] = squares * widths[:, 1:-1] ** 2 / 12
    energies[:, [0, -1]] = outer_energies(squares, widths)
    return energies


def outer_energies(squares: Array, widths: Array) -> Array:
    """Return the squared errors of the outer cells, which hold as many jumps as the three nearest by width."""
    inner, k = widths[:, 1:-1], 3
    first = squares[:, :k].sum(1) / inner[:, :k].sum(1) * widths[:, 0] ** 3 / 3
    last = squares[:, -k:].sum(1) / inner[:, -k:].sum(1) * widths[:, -1] ** 3 / 3
    return np.stack([first, last], axis=1)


def beyond(samples: Samples) -> Array:
    """Return the squared errors of the outer cells as far as rows grow like a power of the distance to 0, or to 1.

    Behind a LayerNorm they grow like 1/α until its eps stops them, in directions whose entries sum to zero: F shows
    nothing of it.
    """
    # Of the two rows nearest to 0, and of the two nearest to 1.
    near, far = [0, -1], [1, -2]
    sizes = np.sqrt(np.maximum(np.diagonal(samples.gram, axis1=1, axis2=2), 1e-300))
    distances = np.stack([samples.points[:, 0], 1 - samples.points[:, -1]], axis=1)
    further = np.stack([samples.points[:, 1], 1 - samples.points[:, -2]], axis=1)
    rate = np.log(sizes[:, near] / sizes[:, far]) / np.log(further / distances)
    # ∫ (α/w)^−p over an outer cell of width w is w/(1 − p): by so much does a constant miss it.
    missed = sizes[:, near] * distances * rate / (1 - np.minimum(rate, 0.9))
    return np.where(rate > _GROWTH, missed**2, 0.0)


def unwitnessed(missed: Array, energies: Array) -> Array:
    """Return the squares of what may be missed in outer cells where F shows more than the rows beside them explain.

    By how much a row is larger than its sum of entries is nothing that other jumps tell of the one that is there.
    """
    found: Array = np.maximum((_REACH * missed) ** 2 - 9 * energies, 0.0)
    return found


def _spread(squares: Array, energies: Array, inner: Array) -> Array:
    """Return the squared errors as they are to be expected, not as a few jumps happen to fall."""
    kernel = (0.25, 0.5, 0.25)
    density = around(squares, kernel) / around(inner, kernel)
    spread: Array = energies.copy()
    spread[:, 1:-1] = np.minimum(density * inner**3 / 12, 4 * energies[:, 1:-1])
    return spread


@dataclass(frozen=True)
class _Correction:
    applies: Flags
    weights: Array
    squares: Array


def _regression(
    samples: Samples, differences: Combinations, slopes: Array, missed: Array, energies: Array
) -> _Correction | None:
    """Return what the misses of the sums say of the rows, and for which examples they say enough; None for none."""
    inner = samples.widths[:, 1:-1]
    if inner.shape[1] < 4:
        return None
    vector = np.zeros_like(samples.sums)
    vector[:, :-1] -= slopes
    vector[:, 1:] += slopes  # Σ d·D
    total, length = np.maximum((slopes**2).sum(1, keepdims=True), 1e-300), inner.sum(1, keepdims=True)
    density, size, pooled = differences.scaled(slopes / inner), slopes**2 / inner, _POOL / length
    beside = density.shifted(-1).plus(density.shifted(1))
    beside = Combinations(beside.near, np.broadcast_to(pooled, inner.shape), vector)
    sizes = np.repeat(pooled * total, inner.shape[1], axis=1)
    sizes[:, 1:] += size[:, :-1]
    sizes[:, :-1] += size[:, 1:]
    # A cell must not witness for itself: its own difference explains itself to the last bit, jumps or not. Where a
    # jump stands alone, there is no other witness.
    others, known = sizes - pooled * slopes**2, beside.plus(differences.scaled(-pooled * slopes))
    witnessed = others > 1e-6 * sizes
    left = known.scaled(np.where(witnessed, -slopes / np.where(witnessed, others, 1.0), 0.0)).plus(differences)
    squares = _without_trend(left, inner).squares(samples)
    before = energies.sum(1)
    applies = _energies(squares, samples.widths).sum(1) < 0.97 * before
    if not applies.any():
        return None
    rates = beside.plus(density).scaled(applies[:, None] / (sizes + size))
    applies &= rates.squares(samples).max(1) <= _REACH**2
    by_cell = missed[:, 1:-1].copy()
    by_cell[:, 0] += missed[:, 0]
    by_cell[:, -1] += missed[:, -1]
    weights = rates.weighted(by_cell)
    applies &= samples.norm(weights) ** 2 <= 9 * before
    return _Correction(applies, weights, squares)


def _curvature(widths: Array) -> Array:
    """Return the weights of Σ h²/12·(a′ left − a′ right), and of the slopes in the outer cells."""
    inner = widths[:, 1:-1]
    before, after = inner[:, :-1], inner[:, 1:]
    # The slope at a row is a mean of those in the cells on its sides, but what it is in a cell that was made narrow
    # around a jump says nothing of a much wider one beside it, which then keeps its own.
    alike = np.maximum(after, before) <= _ALIKE * np.minimum(after, before)
    share = after / (after + before)
    size = inner**2 / 12
    slopes = np.zeros_like(inner)  # coefficients of the slopes in the cells
    slopes[:, 0] += size[:, 0]
    slopes[:, -1] -= size[:, -1]
    slopes[:, :-1] += np.where(alike, share, 0.0) * size[:, 1:] - np.where(alike, share, 1.0) * size[:, :-1]
    slopes[:, 1:] += np.where(alike, 1 - share, 1.0) * size[:, 1:] - np.where(alike, 1 - share, 0.0) * size[:, :-1]
    for end, sign in ((0, -1.0), (-1, 1.0)):
        outer = widths[:, end]
        slopes[:, end] += np.where(outer <= _ALIKE * inner[:, end], sign * outer**2 / 2, 0.0)
    slopes /= inner
    weights = np.zeros((len(widths), widths.shape[1] - 1))
    weights[:, :-1] -= slopes
    weights[:, 1:] += slopes
    return weights
