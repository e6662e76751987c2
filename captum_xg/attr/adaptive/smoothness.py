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

from captum_xg.attr.adaptive.samples import Array, Estimate, Samples

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
    """The integral as a mean over the kinds by their evidence.

    Attributes:
        jumpy: Posterior probability of the kind that jumps.
        kinds: Posterior probabilities of the smooth kinds, as of :data:`LENGTHS`.
        amplitudes: Variance of the process for each smooth kind, summed over the features.
    """

    jumpy: float
    kinds: Array
    amplitudes: Array


@dataclass(frozen=True)
class _Kind:
    """What a kind of process makes of some points, whatever is seen there.

    Attributes:
        weights: Of the best rule with these points.
        variance: Of the integral, by amplitude.
        rows: W with WᵀW the inverse covariance of the rows' differences, shape ``(n − 1, n)``.
        sums: The same for the sums at the points and their means over the cells.
        logarithms: Of the determinants of both covariances.
    """

    weights: Array
    variance: float
    rows: Array
    sums: Array
    logarithms: tuple[float, float]


@dataclass(frozen=True)
class _Fit:
    evidence: float
    weights: Array
    variance: float
    amplitude: float


def smooth_estimate(samples: Samples) -> SmoothEstimate:
    """Return the integral with the error that the evidence leaves. There must be at least two points."""
    kinds = _kinds(tuple(samples.points.tolist()))
    fits = [_fit(samples, kind) for kind in kinds]
    prior = np.array([0.5 / len(LENGTHS)] * len(LENGTHS) + [0.5])
    evidence = np.array([fit.evidence for fit in fits]) + np.log(prior)
    shares = np.exp(evidence - evidence.max())
    shares /= shares.sum()
    weights = sum((s * fit.weights for s, fit in zip(shares, fits, strict=True)), np.zeros(len(samples.points)))
    considered = np.append(shares[:-1], max(shares[-1] - _UNLIKELY, 0.0))
    variance = sum(
        s * (fit.variance + samples.norm(fit.weights - weights) ** 2) for s, fit in zip(considered, fits, strict=True)
    )
    gap = float(samples.beyond_rounding(samples.change - weights @ samples.sums))
    return SmoothEstimate(
        weights,
        float(np.sqrt(variance + gap**2)) * _CALIBRATION,
        samples.norm(weights),
        float(shares[-1]),
        shares[:-1],
        np.array([fit.amplitude for fit in fits[:-1]]),
    )


def predicted_error(estimate: SmoothEstimate, before: Array, points: Array) -> float:
    """Return the error that is to be expected with other points than before, if the integrand is smooth."""
    if estimate.kinds.sum() <= 0:
        return float("inf")
    now, then = (np.array([kind.variance for kind in _kinds(tuple(p.tolist()))[:-1]]) for p in (before, points))
    amplitudes = estimate.kinds * estimate.amplitudes
    return estimate.error * float(np.sqrt((amplitudes @ then) / max(amplitudes @ now, 1e-300)))


@lru_cache(maxsize=1024)  # the first points are the same for every example
def _kinds(points: tuple[float, ...]) -> tuple[_Kind, ...]:
    return tuple(_kind(np.array(points), length) for length in (*LENGTHS, None))


def _kernel(length: float | None, one: Array, other: Array) -> Array:
    distance = one[:, None] - other[None]
    # Of Brownian motion all that matters once a constant is free.
    return -np.abs(distance) if length is None else np.exp(-0.5 * (distance / length) ** 2)


def _kind(points: Array, length: float | None) -> _Kind:
    edges = np.concatenate([[0.0], points, [1.0]])
    widths = np.diff(edges)
    n, cells = len(points), len(widths)
    places = np.concatenate([points, (edges[:-1, None] + widths[:, None] * _NODES).ravel()])
    means = np.zeros((n + cells, len(places)))
    means[:n, :n] = np.eye(n)
    for i in range(cells):
        means[n + i, n + 5 * i : n + 5 * i + 5] = _WEIGHTS
    covariance = means @ _kernel(length, places, places) @ means.T
    integral = covariance[:, n:] @ widths
    # The best weights sum to 1, as the mean of the process is unknown.
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = covariance[:n, :n] + _NUGGET * np.eye(n)
    system[n, n] = 0.0
    right = np.append(integral[:n], 1.0)
    solution = np.linalg.solve(system, right)
    variance = max(float(widths @ integral[n:] - right @ solution), 0.0)
    rows, of_rows = _whitened(covariance[:n, :n])
    sums, of_sums = _whitened(covariance)
    return _Kind(solution[:n], variance, rows, sums, (of_rows, of_sums))


def _fit(samples: Samples, kind: _Kind) -> _Fit:
    amplitude, of_rows = _evidence(kind.rows, kind.logarithms[0], samples.gram)
    sums = np.concatenate([samples.sums, np.diff(samples.values) / samples.widths])
    _, of_sums = _evidence(kind.sums, kind.logarithms[1], np.outer(sums, sums))
    return _Fit(_directions(samples.gram) * of_rows + of_sums, kind.weights, kind.variance * amplitude, amplitude)


def _directions(gram: Array) -> float:
    """Return in how many independent directions the rows differ."""
    centred = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
    squares = float((centred**2).sum())
    return float(np.trace(centred)) ** 2 / squares if squares > 0 else 1.0


def _whitened(covariance: Array) -> tuple[Array, float]:
    m = len(covariance)
    # Differences from the mean: an orthonormal basis of all that is left of them.
    basis = np.linalg.qr(np.concatenate([np.ones((m, 1)), np.eye(m)[:, : m - 1]], axis=1))[0][:, 1:]
    reduced = basis.T @ covariance @ basis
    reduced += (_NUGGET * max(abs(float(np.trace(reduced))) / m, 1.0)) * np.eye(m - 1)
    factor = np.linalg.cholesky(reduced)
    return np.linalg.solve(factor, basis.T), 2 * float(np.log(np.diag(factor)).sum())


def _evidence(whitening: Array, logarithm: float, gram: Array) -> tuple[float, float]:
    """Return the amplitude that fits best, and the restricted log-likelihood of one direction with it."""
    amplitude = max(float(((whitening @ gram) * whitening).sum()) / len(whitening), 0.0)
    return amplitude, -0.5 * (len(whitening) * float(np.log(max(amplitude, 1e-300))) + logarithm)
