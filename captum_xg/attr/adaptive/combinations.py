"""Sums of neighbouring rows, one for each cell, by their coefficients: what rules on cells are put together from.

Rows are known by their inner products alone, and a sum for a cell involves the six rows around it, and perhaps one
vector that all cells share. So squared norms of n sums take n 6×6 forms and never an n×n matrix of coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from captum_xg.attr.adaptive.samples import REACH, Array, Indices, Samples


@dataclass(frozen=True)
class Combinations:
    """Sums of rows, one for each inner cell: of the six rows nearest to it, and of one vector that all share.

    Attributes:
        near: Coefficients of the rows i − 2 … i + 3 for cell i between rows i and i + 1, shape ``(B, n − 1, 6)``.
        shared: Coefficient of the shared vector, shape ``(B, n − 1)``; None if there is none.
        vector: The shared vector as a combination of all rows, shape ``(B, n)``.
    """

    near: Array
    shared: Array | None = None
    vector: Array | None = None

    def shifted(self, by: int) -> Combinations:
        """Return for each cell the combination of the cell ``by`` places further, 0 where there is none."""
        near = np.zeros_like(self.near)
        here, there = (slice(None, -1), slice(1, None)) if by > 0 else (slice(1, None), slice(None, -1))
        if by > 0:
            near[:, here, 1:] = self.near[:, there, :-1]
        else:
            near[:, here, :-1] = self.near[:, there, 1:]
        if self.shared is None:
            return Combinations(near)
        shared = np.zeros_like(self.shared)
        shared[:, here] = self.shared[:, there]
        return Combinations(near, shared, self.vector)

    def scaled(self, factors: Array) -> Combinations:
        """Return them with one factor each."""
        shared = None if self.shared is None else self.shared * factors
        return Combinations(self.near * factors[..., None], shared, self.vector)

    def plus(self, other: Combinations) -> Combinations:
        """Return the sums with others of the same shared vector."""
        near = self.near + other.near
        if self.shared is None or other.shared is None:
            own = other if self.shared is None else self
            return Combinations(near, own.shared, own.vector)
        return Combinations(near, self.shared + other.shared, self.vector)

    def squares(self, samples: Samples) -> Array:
        """Return their squared norms."""
        inner = ((samples.near @ self.near[..., None])[..., 0] * self.near).sum(2)
        if self.shared is None or self.vector is None:
            own_rows: Array = np.maximum(inner, 0.0)
            return own_rows
        across = (samples.gram @ self.vector[..., None])[..., 0]
        mixed = np.zeros_like(inner)
        for a, rows in _offsets(inner.shape[1]):
            mixed += self.near[:, :, a] * across[:, rows]
        own = (self.vector * across).sum(1)[:, None]
        squares: Array = np.maximum(inner + 2 * self.shared * mixed + self.shared**2 * own, 0.0)
        return squares

    def weighted(self, factors: Array) -> Array:
        """Return the sum over the cells with one factor each, as weights of the rows."""
        b, cells = factors.shape
        padded = np.zeros((b, cells + REACH))  # coefficients of rows beyond the outer ones are 0
        for a in range(REACH):
            padded[:, a : a + cells] += self.near[:, :, a] * factors
        weights = padded[:, 2 : cells + 3]
        if self.shared is not None and self.vector is not None:
            weights = weights + (factors * self.shared).sum(1)[:, None] * self.vector
        return weights


@lru_cache(maxsize=256)
def _offsets(cells: int) -> tuple[tuple[int, Indices], ...]:
    return tuple((a, np.clip(np.arange(cells) + a - 2, 0, cells)) for a in range(REACH))
