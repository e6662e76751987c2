"""Integrals of smooth integrands from few points, with how smooth they are inferred from what was seen.

Each entry of the integrand is taken for a draw of a Gaussian process, of one of several kinds: smooth ones, which vary
over a length, and a Brownian one, which jumps everywhere. Given a kind, the best weights and the variance of the
integral follow from n×n systems, for points anywhere. Which kind it is is told by two sorts of evidence: the rows, as
many repetitions as they have independent directions; and F, which tells the integrals of the sum of entries over every
cell. The second decides: the integral over a cell of a smooth function is known from few points to many digits, and F
has these digits only if the function is smooth.

Example: five points tell a GELU network from a ReLU network by a factor of a hundred or more, and err by less than 1 %
for the first, where the rule for jumps would ask for ten or more.

Source: A. O'Hagan, Bayes–Hermite quadrature, 1991.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from captum_xg.attr.adaptive.samples import Array, Estimate, Indices, Samples

Points = tuple[float, ...]

LENGTHS = (0.1, 0.14, 0.2, 0.28, 0.4, 0.56, 0.8, 1.13, 1.6)
"""Lengths over which smooth kinds vary."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2
_UNLIKELY = 0.1
"""The share of the kind that jumps that is no matter for an error which is to be of the right size nearly always."""
_CALIBRATION = 0.55
"""What the error is of its two witnesses together, on random networks: each is as large as it, or larger."""
_NUGGET = 1e-9
"""Variance of rounding beside that of the process."""


@dataclass(frozen=True)
class SmoothEstimate(Estimate):
    """The integrals as means over the kinds by their evidence.

    Attributes:
        jumpy: Posterior probability of the kind that jumps, shape ``(B,)``.
        kinds: Posterior probabilities of the smooth kinds, as of :data:`LENGTHS`, ``(B, 9)``.
        amplitudes: Variance of the process for each smooth kind, summed over the features, ``(B, 9)``.
    """

    jumpy: Array
    kinds: Array
    amplitudes: Array

    def of(self, chosen: Indices) -> SmoothEstimate:
        """Return the estimates for chosen examples."""
        parts = (self.weights, self.error, self.norm, self.jumpy, self.kinds, self.amplitudes)
        return SmoothEstimate(*(part[chosen] for part in parts))


@dataclass(frozen=True)
class _Kinds:
    """What each of K kinds of process, of which the last jumps, makes of n points, whatever is seen there.

    Attributes:
        weights: Of the best rule with these points, shape ``(K, n)``.
        variance: Of the integral, by amplitude, ``(K,)``.
        rows: W with WᵀW the inverse covariance of the rows' differences, ``(K, n − 1, n)``.
        sums: The same for the sums at the points and their means over the cells, ``(K, 2n, 2n + 1)``.
        logarithms: Of the determinants of both covariances, ``(2, K)``.
    """

    weights: Array
    variance: Array
    rows: Array
    sums: Array
    logarithms: Array


def smooth_estimate(samples: Samples) -> SmoothEstimate:
    """Return the integrals with the errors that the evidence leaves. There must be at least two points."""
    rules, of_rows, of_sums, logarithms, variances = _for_all(samples.points)
    amplitudes, rows = _evidence(((of_rows @ samples.gram[:, None]) * of_rows).sum((2, 3)), logarithms[:, 0], of_rows)
    sums = np.concatenate([samples.sums, np.diff(samples.values) / samples.widths], axis=1)
    seen = (of_sums @ sums[:, None, :, None])[..., 0]
    _, totals = _evidence((seen**2).sum(2), logarithms[:, 1], of_sums)
    prior = np.array([0.5 / len(LENGTHS)] * len(LENGTHS) + [0.5])
    evidence = _directions(samples.gram)[:, None] * rows + totals + np.log(prior)
    shares = np.exp(evidence - evidence.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    weights = (shares[:, None] @ rules)[:, 0]
    considered = shares.copy()
    considered[:, -1] = np.maximum(considered[:, -1] - _UNLIKELY, 0.0)
    apart = rules - weights[:, None]
    squares = np.maximum(((apart @ samples.gram) * apart).sum(2), 0.0)
    variance = (considered * (variances * amplitudes + squares)).sum(1)
    gap = samples.beyond_rounding(samples.change - (weights * samples.sums).sum(1))
    error = np.sqrt(variance + gap**2) * _CALIBRATION
    norm = samples.norm(weights)
    return SmoothEstimate(weights, error, norm, shares[:, -1], shares[:, :-1], amplitudes[:, :-1])


def predicted_errors(estimate: SmoothEstimate, before: Points, ways: tuple[Points, ...]) -> Array:
    """Return the errors to be expected with each of other points than before, if integrands are smooth.

    Args:
        estimate: Of B examples with the same points.
        before: These.
        ways: What to have in their place.
    """
    now, then = _kinds(before).variance[:-1], _variances(ways)
    amplitudes = estimate.kinds * estimate.amplitudes
    ratios = (amplitudes @ then.T) / np.maximum(amplitudes @ now, 1e-300)[:, None]
    known = estimate.kinds.sum(1, keepdims=True) > 0
    return np.where(known, estimate.error[:, None] * np.sqrt(ratios), np.inf)


def _for_all(points: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Return rules, whitenings, logarithms and variances of the kinds for each example; of one if all are alike."""
    keys = dict.fromkeys(map(tuple, points.tolist()))
    if len(keys) == 1:
        (key,) = keys
        found = _kinds(key)
        one = (found.weights, found.rows, found.sums, found.logarithms, found.variance)
        return tuple(part[None] for part in one)  # type: ignore[return-value]  # five, as above
    each = [_kinds(tuple(own)) for own in points.tolist()]
    return (
        np.stack([kinds.weights for kinds in each]),
        np.stack([kinds.rows for kinds in each]),
        np.stack([kinds.sums for kinds in each]),
        np.stack([kinds.logarithms for kinds in each]),
        np.stack([kinds.variance for kinds in each]),
    )


@lru_cache(maxsize=256)
def _variances(ways: tuple[Points, ...]) -> Array:
    return np.stack([_kinds(points).variance[:-1] for points in ways])


@lru_cache(maxsize=1024)  # the first points are the same for every example
def _kinds(points: Points) -> _Kinds:
    edges = np.array([0.0, *points, 1.0])
    widths = np.diff(edges)
    n, cells = len(points), len(widths)
    places = np.concatenate([np.array(points), (edges[:-1, None] + widths[:, None] * _NODES).ravel()])
    means = np.zeros((n + cells, len(places)))
    means[:n, :n] = np.eye(n)
    for i in range(cells):
        means[n + i, n + 5 * i : n + 5 * i + 5] = _WEIGHTS
    covariance = means @ _kernels(places) @ means.T
    integral = covariance[:, :, n:] @ widths
    # The best weights sum to 1, as the mean of the process is unknown.
    system = np.ones((len(covariance), n + 1, n + 1))
    system[:, :n, :n] = covariance[:, :n, :n] + _NUGGET * np.eye(n)
    system[:, n, n] = 0.0
    right = np.ones((len(covariance), n + 1))
    right[:, :n] = integral[:, :n]
    solution = np.asarray(np.linalg.solve(system, right[:, :, None])[:, :, 0], dtype=np.float64)
    variance = np.maximum(integral[:, n:] @ widths - (right * solution).sum(1), 0.0)
    rows, of_rows = _whitened(covariance[:, :n, :n])
    sums, of_sums = _whitened(covariance)
    return _Kinds(solution[:, :n], variance, rows, sums, np.stack([of_rows, of_sums]))


def _kernels(places: Array) -> Array:
    distance = places[:, None] - places
    smooth = [np.exp(-0.5 * (distance / length) ** 2) for length in LENGTHS]
    # Of Brownian motion all that matters once a constant is free.
    return np.stack([*smooth, -np.abs(distance)])


def _directions(gram: Array) -> Array:
    """Return in how many independent directions the rows differ."""
    means = gram.mean(1)
    centred = gram - means[:, None] - means[:, :, None] + means.mean(1)[:, None, None]
    squares = (centred**2).sum((1, 2))
    traces = np.trace(centred, axis1=1, axis2=2)
    found: Array = np.divide(traces**2, squares, out=np.ones_like(squares), where=squares > 0)
    return found


def _whitened(covariance: Array) -> tuple[Array, Array]:
    m = covariance.shape[1]
    # Differences from the mean: an orthonormal basis of all that is left of them.
    basis = np.linalg.qr(np.concatenate([np.ones((m, 1)), np.eye(m)[:, : m - 1]], axis=1))[0][:, 1:]
    reduced = basis.T @ covariance @ basis
    size = np.maximum(np.abs(np.trace(reduced, axis1=1, axis2=2)) / m, 1.0)
    reduced += (_NUGGET * size)[:, None, None] * np.eye(m - 1)
    factor = np.linalg.cholesky(reduced)
    logarithms: Array = 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
    return np.linalg.solve(factor, np.broadcast_to(basis.T, (len(factor), m - 1, m))), logarithms


def _evidence(squares: Array, logarithms: Array, whitening: Array) -> tuple[Array, Array]:
    """Return the amplitudes that fit best, and the restricted log-likelihoods of one direction with them."""
    m = whitening.shape[2]
    amplitudes = np.maximum(squares / m, 0.0)
    return amplitudes, -0.5 * (m * np.log(np.maximum(amplitudes, 1e-300)) + logarithms)
