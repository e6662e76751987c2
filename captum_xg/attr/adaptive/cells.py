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

from captum_xg.attr.adaptive.samples import Array, Estimate, Indices, Samples

_REACH = 3.0
"""The most by which an error of a sum of entries is scaled up to one of the row."""
_GROWTH = 0.3
"""The power from which on growth towards an end is no accident of jumps."""
_ALIKE = 8.0
"""The largest ratio of the widths of two cells that may tell of each other's slopes."""
_POOL = 3.0
"""Weight of the regression over all cells, beside that of a cell and of each of its neighbours, which is 1."""


@dataclass(frozen=True)
class Combinations:
    """Sums of rows, one for each inner cell: of the six rows nearest to it, and of one vector that all share.

    Attributes:
        near: Coefficients of the rows i − 2 … i + 3 for cell i between rows i and i + 1, shape ``(n − 1, 6)``.
        shared: Coefficient of the shared vector, shape ``(n − 1,)``.
        vector: The shared vector as a combination of all rows, shape ``(n,)``.
    """

    near: Array
    shared: Array
    vector: Array

    def shifted(self, by: int) -> Combinations:
        """Return for each cell the combination of the cell ``by`` places further, 0 where there is none."""
        near, shared = np.zeros_like(self.near), np.zeros_like(self.shared)
        here, there = (slice(None, -1), slice(1, None)) if by > 0 else (slice(1, None), slice(None, -1))
        if by > 0:
            near[here, 1:] = self.near[there, :-1]
        else:
            near[here, :-1] = self.near[there, 1:]
        shared[here] = self.shared[there]
        return Combinations(near, shared, self.vector)

    def scaled(self, factors: Array) -> Combinations:
        """Return them with one factor each."""
        return Combinations(self.near * factors[:, None], self.shared * factors, self.vector)

    def plus(self, other: Combinations) -> Combinations:
        """Return the sums with others of the same shared vector."""
        return Combinations(self.near + other.near, self.shared + other.shared, self.vector)

    def squares(self, gram: Array) -> Array:
        """Return their squared norms."""
        places = self._places()
        local = gram[places[:, :, None], places[:, None, :]]
        across = gram @ self.vector
        inner = np.einsum("ia,ib,iab->i", self.near, self.near, local)
        mixed = (self.near * across[places]).sum(1)
        squares: Array = inner + 2 * self.shared * mixed + self.shared**2 * (self.vector @ across)
        return np.maximum(squares, 0.0)

    def weighted(self, factors: Array) -> Array:
        """Return the sum over the cells with one factor each, as weights of the rows."""
        weights = (factors @ self.shared) * self.vector
        np.add.at(weights, self._places(), self.near * factors[:, None])
        return weights

    def _places(self) -> Indices:
        cells = len(self.near)
        # Beyond the outer rows coefficients are 0, whatever row stands there.
        places: Indices = np.clip(np.arange(cells)[:, None] + np.arange(-2, 4), 0, cells)
        return places


@dataclass(frozen=True)
class CellEstimate(Estimate):
    """The rule on cells, and where its error comes from.

    Attributes:
        energies: Squared error by cell, of all n + 1, for whoever decides which to split.
    """

    energies: Array


def cell_estimate(samples: Samples) -> CellEstimate:
    """Return the integral by cells, with what it may err by. There must be at least four points."""
    widths, inner = samples.widths, samples.widths[1:-1]
    weights = trapezoid(widths)
    differences = _differences(len(inner))
    slopes = np.diff(samples.sums)
    missed = _missed(samples)
    squares = _without_trend(differences, inner).squares(samples.gram)
    energies = _energies(squares, widths)
    correction = _regression(samples, differences, slopes, missed, energies)
    if correction is not None:
        weights, squares = weights + correction.weights, correction.squares
        energies = _energies(squares, widths)
    bend = _curvature(differences, widths)
    curved = samples.norm(bend)
    weights = weights + bend
    scale = row_by_sum(differences.squares(samples.gram), slopes, samples.features)
    blind = (scale * missed) ** 2
    blind = np.maximum(blind - 9 * energies - 0.5 * energies.mean(), 0.0)
    blind[[0, -1]] += beyond(samples)
    error = float(np.sqrt(energies.sum() + blind.sum() + curved**2 / 16))
    return CellEstimate(
        weights, error, samples.norm(weights), np.maximum(_spread(squares, energies, inner), blind) + 1e-300
    )


def trapezoid(widths: Array) -> Array:
    """Return the weights of the trapezoidal rule, constant beyond the outer points: midpoints, if cells are equal."""
    weights = (widths[1:] + widths[:-1]) / 2
    weights[0] += widths[0] / 2
    weights[-1] += widths[-1] / 2
    return weights


def row_by_sum(squares: Array, slopes: Array, features: int) -> float:
    """Return how large a row is beside the sum of its entries, as differences of rows have it.

    Args:
        squares: Squared norms of the differences.
        slopes: The sums of their entries.
        features: How many entries there are: a row is never smaller than its sum by more than their root.
    """
    ratio = np.sqrt(squares.sum() / max((slopes**2).sum(), 1e-300))
    return float(np.clip(ratio, features**-0.5, _REACH))


def _differences(cells: int) -> Combinations:
    near = np.zeros((cells, 6))
    near[:, 2], near[:, 3] = -1.0, 1.0
    return Combinations(near, np.zeros(cells), np.zeros(cells + 1))


def _missed(samples: Samples) -> Array:
    """Return by how much the rule misses the sum of entries in each cell."""
    widths, sums = samples.widths, samples.sums
    ends = np.concatenate([sums[:1], sums, sums[-1:]])
    return samples.beyond_rounding(np.diff(samples.values) - widths * (ends[1:] + ends[:-1]) / 2)


def _without_trend(differences: Combinations, inner: Array) -> Combinations:
    """Return the differences less what their neighbours' slopes predict, scaled to the size of pure noise."""
    n = len(inner)
    before, after = np.zeros(n), np.zeros(n)
    before[1:], after[:-1] = inner[1:] / inner[:-1], inner[:-1] / inner[1:]
    share = np.full(n, 0.5)
    share[0] = share[-1] = 1.0
    # Noise has a variance that is proportional to the width; slopes of neighbours bring theirs with them.
    variance = 1 + share**2 * (before + after)
    trend = differences.shifted(-1).scaled(-share * before).plus(differences.shifted(1).scaled(-share * after))
    return differences.plus(trend).scaled(variance**-0.5)


def _energies(squares: Array, widths: Array) -> Array:
    """Return the squared error of each cell."""
    first, last = outer_energies(squares, widths)
    energies: Array = np.concatenate([[first], squares * widths[1:-1] ** 2 / 12, [last]])
    return energies


def outer_energies(squares: Array, widths: Array) -> Array:
    """Return the squared errors of the outer cells, which hold as many jumps as the three nearest by width."""
    inner, k = widths[1:-1], 3
    first = squares[:k].sum() / inner[:k].sum() * widths[0] ** 3 / 3
    last = squares[-k:].sum() / inner[-k:].sum() * widths[-1] ** 3 / 3
    return np.array([first, last])


def beyond(samples: Samples) -> Array:
    """Return the squared errors of the outer cells as far as rows grow like a power of the distance to 0, or to 1.

    Behind a LayerNorm they grow like 1/α until its eps stops them, in directions whose entries sum to zero: F shows
    nothing of it.
    """
    sizes = np.sqrt(np.maximum(np.diag(samples.gram), 1e-300))
    found = []
    for near, far, distances in ((0, 1, samples.points), (-1, -2, 1 - samples.points)):
        rate = np.log(sizes[near] / sizes[far]) / np.log(distances[far] / distances[near])
        # ∫ (α/w)^−p over an outer cell of width w is w/(1 − p): by so much does a constant miss it.
        missed = sizes[near] * distances[near] * rate / (1 - min(rate, 0.9))
        found.append(missed**2 if rate > _GROWTH else 0.0)
    return np.array(found)


def _spread(squares: Array, energies: Array, inner: Array) -> Array:
    """Return the squared errors as they are to be expected, not as a few jumps happen to fall."""
    kernel = np.array([0.25, 0.5, 0.25])
    density = np.convolve(np.pad(squares, 1, mode="edge"), kernel, "valid")
    density = density / np.convolve(np.pad(inner, 1, mode="edge"), kernel, "valid")
    spread: Array = energies.copy()
    spread[1:-1] = np.minimum(density * inner**3 / 12, 4 * energies[1:-1])
    return spread


@dataclass(frozen=True)
class _Correction:
    weights: Array
    squares: Array


def _regression(
    samples: Samples, differences: Combinations, slopes: Array, missed: Array, energies: Array
) -> _Correction | None:
    """Return what the misses of the sums say of the rows; None where they say little."""
    inner = samples.widths[1:-1]
    if len(inner) < 4:
        return None
    vector = np.zeros(len(inner) + 1)
    vector[:-1] -= slopes
    vector[1:] += slopes  # Σ d·D
    total, length = max((slopes**2).sum(), 1e-300), inner.sum()
    density, size = Combinations(differences.near, differences.shared, vector).scaled(slopes / inner), slopes**2 / inner
    beside = density.shifted(-1).plus(density.shifted(1))
    beside = Combinations(beside.near, beside.shared + _POOL / length, vector)
    sizes = np.full(len(inner), _POOL * total / length)
    sizes[1:] += size[:-1]
    sizes[:-1] += size[1:]
    # A cell must not witness for itself: its own difference explains itself to the last bit, jumps or not.
    others = beside.scaled(-slopes / sizes)
    left = Combinations(others.near + differences.near, others.shared, vector)
    squares = _without_trend(left, inner).squares(samples.gram)
    if _energies(squares, samples.widths).sum() > 0.97 * energies.sum():
        return None
    rates = beside.plus(density).scaled(1 / (sizes + size))
    if rates.squares(samples.gram).max() > _REACH**2:
        return None
    by_cell = missed[1:-1].copy()
    by_cell[0] += missed[0]
    by_cell[-1] += missed[-1]
    weights = rates.weighted(by_cell)
    if samples.norm(weights) ** 2 > 9 * energies.sum():
        return None
    return _Correction(weights, squares)


def _curvature(differences: Combinations, widths: Array) -> Array:
    """Return the weights of Σ h²/12·(a′ left − a′ right), and of the slopes in the outer cells."""
    inner = widths[1:-1]
    n = len(inner)
    slope = np.zeros((n + 1, n + 1))
    steps = np.zeros((n, n + 1))
    index = np.arange(n)
    steps[index, index], steps[index, index + 1] = -1 / inner, 1 / inner
    share = (inner[1:] / (inner[1:] + inner[:-1]))[:, None]
    slope[1:-1] = share * steps[:-1] + (1 - share) * steps[1:]
    slope[0], slope[-1] = steps[0], steps[-1]
    # The slope in a cell that was made narrow around a jump says nothing of a much wider one beside it.
    alike = np.maximum(inner[1:], inner[:-1]) <= _ALIKE * np.minimum(inner[1:], inner[:-1])
    left, right = slope[:-1].copy(), slope[1:].copy()
    left[1:][~alike], right[:-1][~alike] = steps[1:][~alike], steps[:-1][~alike]
    weights: Array = (inner**2 / 12) @ (left - right)
    for outer, next_to, sign in ((widths[0], 0, -1.0), (widths[-1], -1, 1.0)):
        if outer <= _ALIKE * inner[next_to]:
            weights += sign * outer**2 / 2 * slope[next_to]
    return weights
