"""The walk along straight paths: piece by piece, in the gaps between those that are known, until none is left.

A pass at a point of a gap finds a whole linear piece of F: its gradient and both of its ends. What is left of the gap
on either side lies in other pieces, and has points in the next pass. Points of all gaps of all examples share passes.
A gap has one point, in its middle, and then there are as many gradients as pieces. As long as points are too few to
fill a pass, wide gaps have several, one for every two pieces that the nearest one lets expect: some find a piece that
their neighbour has found, and are dropped.

Example: F(α) = |α − 0.3|. The point 0.5 finds the piece from 0.3 to 1, the point 0.15 that from 0 to 0.3.

What must never happen: part of a path is counted twice or left out. Pieces are cut to the gap they were found in and
begin where the one before ends, and the lengths of gaps and pieces of a path add up to 1 at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_xg.attr.adaptive.samples import Array, Indices
from captum_xg.attr.exact.points import PathPoints
from captum_xg.errors import CaptumXGError

RESOLUTION = 1e-13
"""Gaps that are no longer than that are rounding of the pieces' ends, and go to a neighbour."""
_CONDITIONS = 2**19
"""Numbers whose signs are looked at in one pass, if the caller does not say how many points it has."""
_AT_MOST_CONDITIONS = 2**24
"""The same where a pass would have so few points that what it costs by itself counts: 128 MiB for each layer of F."""
_FEW_POINTS, _MOST_POINTS = 32, 2048


@dataclass(frozen=True)
class Pieces:
    """The linear pieces of M regions on paths, in ascending order of example and α.

    Attributes:
        examples: Which path each is of.
        left: Where it begins.
        right: Where it ends.
        points: Where F was evaluated.
        values: F there.
        slopes: dF/dα.
        expected: Σ (x − b)·∇F, which must be the slope.
        sizes: Σ |(x − b)·∇F|.
    """

    examples: Indices
    left: Array
    right: Array
    points: Array
    values: Array
    slopes: Array
    expected: Array
    sizes: Array

    def of(self, example: int) -> Pieces:
        """Return the pieces of one path."""
        own = self.examples == example
        return Pieces(*(getattr(self, name)[own] for name in self.__dataclass_fields__))


Collect = Callable[[Indices, Array, Array, Tensor], None]
"""What is done with the gradients of pieces: examples, left ends, right ends, and gradients, shape ``(M, D)``."""


@dataclass(frozen=True)
class _Gaps:
    """Parts of paths in which no piece is known, in ascending order.

    Attributes:
        examples: Which path each is of.
        left: Where it begins.
        right: Where it ends.
        width: The length of a piece beside it.
    """

    examples: Indices
    left: Array
    right: Array
    width: Array

    def points(self, room: int) -> tuple[Indices, Array]:
        """Return points in gaps: the gap of each and where it is. No gap has more than ``room``."""
        expected = (self.right - self.left) / np.maximum(2 * self.width, RESOLUTION)
        counts = np.clip(expected, 1, max(room, 1)).astype(np.int64)
        index = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(len(index)) - (np.cumsum(counts) - counts)[index]
        return index, self.left[index] + (place + 0.5) / counts[index] * (self.right - self.left)[index]

    def cut(self, index: Indices, begin: Array, end: Array) -> tuple[Array, Array, _Gaps]:
        """Cut pieces in ascending order to the gaps they were found in.

        Args:
            index: The gap of each.
            begin: Where the pieces begin, or before.
            end: Where they end, or behind.

        Returns:
            Where they begin and end, and the gaps that are left.
        """
        first = np.concatenate([[True], index[1:] != index[:-1]])
        last = np.concatenate([first[1:], [True]])
        end = np.minimum(end, self.right[index])
        end = np.where(last & (self.right[index] - end <= RESOLUTION), self.right[index], end)
        before = np.where(first, self.left[index], np.concatenate([[0.0], end[:-1]]))
        begin = np.where(begin - before <= RESOLUTION, before, begin)
        width = end - begin
        examples, right = self.examples[index], self.right[index]
        lefts = [before, end]
        rights = [begin, right]
        some = [begin > before, last & (end < right)]
        left_over = _Gaps(
            *(
                np.concatenate([column[chosen] for column, chosen in zip(columns, some, strict=True)])
                for columns in ([examples] * 2, lefts, rights, [width] * 2)
            )
        )
        return begin, end, left_over


def walk(
    paths: PathPoints,
    chosen: range,
    size: int | None,
    most: int,
    collect: Collect,
    limit: Callable[[Indices], CaptumXGError],
) -> Pieces:
    """Return all pieces of some paths.

    Args:
        paths: The paths.
        chosen: Which ones.
        size: The most points in one pass; None to choose.
        most: The most pieces of one path.
        collect: Gets every piece with its gradient, once.
        limit: The error to raise where there are more, by how many pieces each path has so far.
    """
    n, first = len(chosen), chosen.start
    size = _points_in_a_pass(paths, first, size)
    gaps = _Gaps(np.arange(first, first + n), np.zeros(n), np.ones(n), np.ones(n))
    counts = np.zeros(n, dtype=np.int64)
    found: list[tuple[Any, ...]] = []
    while len(gaps.left):
        index, points = gaps.points(size // len(gaps.left))  # where a gap has several, all of them are in one pass
        again: list[_Gaps] = []
        for start in range(0, len(index), size):
            of, alphas = index[start : start + size], points[start : start + size]
            at = paths.at(gaps.examples[of], alphas)
            known = np.concatenate([[False], (of[1:] == of[:-1]) & (alphas[1:] <= (alphas + at.right)[:-1])])
            new = np.flatnonzero(~known)
            of, alphas, own = of[new], alphas[new], gaps.examples[of[new]]
            begin, end, left_over = gaps.cut(of, alphas - at.left[new], alphas + at.right[new])
            again.append(left_over)
            gradients = (
                at.gradients if len(new) == len(known) else at.gradients[torch.from_numpy(new).to(at.gradients.device)]
            )
            terms = gradients * paths.displacement[torch.from_numpy(own).to(gradients.device)]
            collect(own, begin, end, gradients)
            sums, sizes = (x.sum(1).cpu().numpy() for x in (terms, terms.abs()))
            found.append((own, begin, end, alphas, at.values[new], at.slopes[new], sums, sizes))
            np.add.at(counts, own - first, 1)
            if counts.max() > most:
                raise limit(counts)
        gaps = _Gaps(*(np.concatenate([getattr(g, f) for g in again]) for f in _Gaps.__dataclass_fields__))
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    kept = order[(columns[2] > columns[1])[order]]
    return Pieces(*(column[kept] for column in columns))


def _points_in_a_pass(paths: PathPoints, example: int, size: int | None) -> int:
    """Return how many points may share a pass, and are worth it."""
    if size == 1:
        return 1
    separate, units = paths.look(example)
    if not separate:
        return 1
    if size is not None:
        return size
    least = min(_FEW_POINTS, _AT_MOST_CONDITIONS // max(units, 1))
    return int(np.clip(max(_CONDITIONS // max(units, 1), least), 1, _MOST_POINTS))
