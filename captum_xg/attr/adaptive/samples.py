"""What is known of an integrand: where it was evaluated, and the inner products of what came out.

The integrand of Integrated Gradients is a curve in as many dimensions as there are features. Every rule of integration
is a weighted sum of its rows, and every norm that an error estimate asks for is a quadratic form of their inner
products. So whoever decides where to look next sees n×n numbers and never the rows themselves, which may be long and
lie on an accelerator.

With each row comes F there, for nothing. Since the entries of a row sum to dF/dα, it tells the integral of the *sum*
between any two points exactly: an independent witness of what a rule misses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

REACH = 6
"""How many rows around a cell the sums of rows of :attr:`Samples.near` are made of."""


@dataclass(frozen=True)
class Samples:
    """Rows a(α) of B examples, each at n points of (0, 1) of its own in ascending order, by their inner products.

    Attributes:
        points: α, shape ``(B, n)``, strictly ascending.
        gram: Inner products of the rows, shape ``(B, n, n)``.
        sums: Sum of the entries of each row, dF/dα, shape ``(B, n)``.
        values: F at 0, at the points, and at 1, shape ``(B, n + 2)``.
        features: How many entries a row has.
        precision: Relative rounding error of F, in the dtype that it is computed in.
    """

    points: Array
    gram: Array
    sums: Array
    values: Array
    features: int
    precision: float = 2.0**-52

    @cached_property
    def widths(self) -> Array:
        """Widths of the n + 1 cells between neighbouring points, and between the outer ones and 0 and 1."""
        widths = np.empty((len(self.points), self.points.shape[1] + 1))
        widths[:, 0], widths[:, -1] = self.points[:, 0], 1 - self.points[:, -1]
        np.subtract(self.points[:, 1:], self.points[:, :-1], out=widths[:, 1:-1])
        return widths

    @cached_property
    def near(self) -> Array:
        """Inner products of the rows i − 2 … i + 3 for cell i between rows i and i + 1, ``(B, n − 1, 6, 6)``."""
        b, n = self.sums.shape
        found: Array = self.gram.reshape(b, -1)[:, _around(n)].reshape(b, n - 1, REACH, REACH)
        return found

    @property
    def change(self) -> Array:
        """F(1) − F(0), what the entries of the integral sum to, ``(B,)``."""
        difference: Array = self.values[:, -1] - self.values[:, 0]
        return difference

    def of(self, chosen: Indices) -> Samples:
        """Return the samples of chosen examples, in ascending order and each once."""
        if len(chosen) == len(self.points):
            return self
        parts = (self.points[chosen], self.gram[chosen], self.sums[chosen], self.values[chosen])
        return Samples(*parts, self.features, self.precision)

    def beyond_rounding(self, differences: Array) -> Array:
        """Return differences of F, ``(B, …)``, less what may be rounding of its values."""
        rounding = 4 * self.precision * np.abs(self.values).max(1)
        rounding = rounding.reshape(-1, *[1] * (differences.ndim - 1))
        left: Array = np.sign(differences) * np.maximum(np.abs(differences) - rounding, 0.0)
        return left

    def norm(self, weights: Array) -> Array:
        """Return the Euclidean norms of weighted sums of the rows."""
        squares = (weights[:, None] @ self.gram @ weights[:, :, None])[:, 0, 0]
        return np.sqrt(np.maximum(squares, 0.0))


@lru_cache(maxsize=256)
def _around(n: int) -> Indices:
    # Beyond the outer rows whatever stands there has a coefficient of 0.
    places = np.clip(np.arange(n - 1)[:, None] + np.arange(-2, 4), 0, n - 1)
    flat: Indices = (places[:, :, None] * n + places[:, None, :]).ravel()
    return flat


@dataclass(frozen=True)
class Estimate:
    """Integrals as weighted sums of rows, with their errors.

    Attributes:
        weights: One for each row, shape ``(B, n)``.
        error: Estimated Euclidean norm of the error, ``(B,)``.
        norm: Euclidean norm of the integral, ``(B,)``.
    """

    weights: Array
    error: Array
    norm: Array

    @property
    def relative(self) -> Array:
        """Error by norm; 0 for an integral that is zero without an error."""
        at_zero = np.where(self.error == 0, 0.0, np.inf)
        return np.divide(self.error, self.norm, out=at_zero, where=self.norm > 0)
