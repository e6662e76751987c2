"""What is known of an integrand: where it was evaluated, and the inner products of what came out.

The integrand of Integrated Gradients is a curve in as many dimensions as there are features. Every rule of integration
is a weighted sum of its rows, and every norm that an error estimate asks for is a quadratic form of their inner
products. So whoever decides where to look next sees n×n numbers and never the rows themselves, which may be long and
lie on an accelerator.

With each row comes F there, for nothing. Since the entries of a row sum to dF/dα, it tells the integral of the *sum*
between any two points exactly: an independent witness of what a rule misses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Rows a(α) of one example at n points of (0, 1), in ascending order, by their inner products.

    Attributes:
        points: α, shape ``(n,)``, strictly ascending.
        gram: Inner products of the rows, shape ``(n, n)``.
        sums: Sum of the entries of each row, dF/dα.
        values: F at 0, at the points, and at 1, shape ``(n + 2,)``.
        features: How many entries a row has.
        precision: Relative rounding error of F, in the dtype that it is computed in.
    """

    points: Array
    gram: Array
    sums: Array
    values: Array
    features: int
    precision: float = 2.0**-52

    @property
    def widths(self) -> Array:
        """Widths of the n + 1 cells between neighbouring points, and between the outer ones and 0 and 1."""
        return np.diff(np.concatenate([[0.0], self.points, [1.0]]))

    @property
    def change(self) -> float:
        """F(1) − F(0), what the entries of the integral sum to."""
        return float(self.values[-1] - self.values[0])

    def beyond_rounding(self, differences: Array) -> Array:
        """Return differences of F less what may be rounding of its values."""
        rounding = 4 * self.precision * float(np.abs(self.values).max())
        return np.sign(differences) * np.maximum(np.abs(differences) - rounding, 0.0)

    def norm(self, weights: Array) -> float:
        """Return the Euclidean norm of a weighted sum of the rows."""
        return math.sqrt(max(float(weights @ self.gram @ weights), 0.0))


@dataclass(frozen=True)
class Estimate:
    """An integral as a weighted sum of rows, with its error.

    Attributes:
        weights: One for each row.
        error: Estimated Euclidean norm of the error.
        norm: Euclidean norm of the integral.
    """

    weights: Array
    error: float
    norm: float

    @property
    def relative(self) -> float:
        """Error by norm; 0 for an integral that is zero without an error."""
        return self.error / self.norm if self.norm > 0 else (0.0 if self.error == 0 else float("inf"))
