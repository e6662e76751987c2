"""The walk along straight paths: piece by piece, in the gaps between those that are known, until none is left.

A pass at a point of a gap finds a whole linear piece of F: its gradient and both of its ends. What is left of the gap
on either side lies in other pieces, and the middle of each such part is a point of the next pass. So there are as many
gradients as pieces, no two of which are the same, and points of all gaps of all examples share passes.

Example: F(α) = |α − 0.3|. The point 0.5 finds the piece from 0.3 to 1, the point 0.15 that from 0 to 0.3.

What must never happen: part of a path is counted twice or left out. Pieces are cut to the gap they were found in, and
the lengths of gaps and pieces of a path add up to 1 at any time.
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
_LEAST_POINTS, _MOST_POINTS = 24, 2048


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
    size = size if size == 1 or paths.are_separate(first) else 1
    examples, left, right = np.arange(first, first + n), np.zeros(n), np.ones(n)
    counts = np.zeros(n, dtype=np.int64)
    found: list[tuple[Any, ...]] = []
    while len(examples):
        middles = (left + right) / 2
        again: list[tuple[Indices, Array, Array]] = []
        start = 0
        while start < len(examples):
            part = slice(start, start + (64 if size is None else size))
            own, a, b, points = examples[part], left[part], right[part], middles[part]
            start += len(own)
            at = paths.at(own, points)
            if size is None:
                size = int(np.clip(_CONDITIONS // max(at.units, 1), _LEAST_POINTS, _MOST_POINTS))
            begin, end = np.maximum(points - at.left, a), np.minimum(points + at.right, b)
            begin = np.where(begin - a <= RESOLUTION, a, begin)
            end = np.where(b - end <= RESOLUTION, b, end)
            device = at.gradients.device
            terms = at.gradients * paths.displacement[torch.from_numpy(own).to(device)]
            collect(own, begin, end, at.gradients)
            sums, sizes = (x.sum(1).cpu().numpy() for x in (terms, terms.abs()))
            found.append((own, begin, end, points, at.values, at.slopes, sums, sizes))
            np.add.at(counts, own - first, 1)
            if counts.max() > most:
                raise limit(counts)
            again += [(own[begin > a], a[begin > a], begin[begin > a]), (own[end < b], end[end < b], b[end < b])]
        examples, left, right = (np.concatenate(parts) for parts in zip(*again, strict=True))
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    kept = order[(columns[2] > columns[1])[order]]
    return Pieces(*(column[kept] for column in columns))
