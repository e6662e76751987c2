"""Where new points go: into the cells whose splitting lowers the error most, few at a time where nothing is known."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

import numpy as np

from captum_xg.attr.adaptive.samples import Array, Indices

_MOST = 3
"""The most points that are put into one cell at once: what it looks like inside is a guess until some are there."""
_WORTH = 0.1
"""Cells are left alone that gain less than this share of what a cell would that may have no more points."""


def shared_out(energies: Array, count: int) -> Indices:
    """Return how many of ``count`` points each cell gets by its squared error. The first and the last are outer."""
    cells = len(energies)
    outer = (0, cells - 1)

    def after(i: int, m: int) -> float:
        # k points at equal distances split an inner cell into k + 1; in an outer one the last half distance is free.
        return float(energies[i]) * (0.25 / (m + 0.5) ** 2 if i in outer else 1 / (m + 1) ** 2)

    def gain(i: int, m: int) -> float:
        return after(i, m) - after(i, m + 1)

    given = np.zeros(cells, dtype=np.int64)
    queue = [(-gain(i, 0), i) for i in range(cells)]
    heapq.heapify(queue)
    held_back = 0.0
    for _ in range(count):
        if not queue:
            break
        best, i = heapq.heappop(queue)
        if -best < _WORTH * held_back:
            break
        given[i] += 1
        if given[i] < _MOST:
            heapq.heappush(queue, (-gain(i, int(given[i])), i))
        else:
            held_back = max(held_back, gain(i, int(given[i])))
    return given


def placed(points: Array, given: Indices) -> Array:
    """Return so many new points in each cell, at equal distances."""
    edges = np.concatenate([[0.0], points, [1.0]])
    found: list[float] = []
    for i, k in enumerate(given.tolist()):
        left, width = edges[i], edges[i + 1] - edges[i]
        steps = np.arange(1, k + 1)
        if k and i == 0:
            found.extend(edges[1] - width / (k + 0.5) * steps)
        elif k and i == len(given) - 1:
            found.extend(left + width / (k + 0.5) * steps)
        else:
            found.extend(left + width * steps / (k + 1))
    new = np.unique(np.array(found))
    # Cells can become too narrow for a number between their ends, or for one above 0.
    return new[(new > 0) & (new < 1) & ~np.isin(new, points)]


def mirrored(points: Array, count: int) -> Iterator[Array]:
    """Yield ways to put ``count`` new points between few that are alike on both sides of ½, so that all are."""
    edges = np.concatenate([[0.0], points, [1.0]])
    cells = len(points) + 1
    # Nothing lies beyond the ends to lean on: points are better near to them.
    lower = [float(edges[1]) / 3, *((edges[1:-1] + edges[2:]) / 2).tolist()][: cells // 2]
    centre: list[float] = []
    if cells % 2 and count % 2:
        centre = [0.5]
    elif cells % 2:
        lower.append(float(0.68 * edges[cells // 2] + 0.32 * edges[cells // 2 + 1]))
    elif count % 2:
        return
    for chosen in itertools.combinations(lower, count // 2):
        yield np.sort(np.array([*chosen, *centre, *(1 - point for point in chosen)]))
