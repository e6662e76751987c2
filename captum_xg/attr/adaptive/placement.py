"""Where new points go: into the cells whose splitting lowers the error most, few at a time where nothing is known."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from captum_xg.attr.adaptive.samples import Array, Flags, Indices

_MOST = 3
"""The most points that are put into one cell at once: what it looks like inside is a guess until some are there."""
_WORTH = 0.1
"""Cells are left alone that gain less than this share of what a cell would that may have no more points."""


def shared_out(energies: Array, counts: Indices) -> Indices:
    """Return how many of so many points each cell gets by its squared error. The first and the last are outer.

    Args:
        energies: Squared errors by cell, shape ``(B, cells)``.
        counts: How many points each example may have, ``(B,)``.
    """
    b, cells = energies.shape
    # k points at equal distances split an inner cell into k + 1; in an outer one the last half distance is free.
    k = np.arange(_MOST + 2)
    left = np.repeat(1 / (k + 1.0)[None] ** 2, cells, axis=0)
    left[[0, -1]] = 0.25 / (k + 0.5) ** 2
    after = energies[:, :, None] * left
    gains = after[:, :, :-1] - after[:, :, 1:]
    each = gains[:, :, :_MOST].reshape(b, -1)
    # A point more gains less than the one before it in every cell, so that the greediest order is that of the gains.
    order = np.argsort(-each, axis=1, kind="stable")
    sorted_gains = np.take_along_axis(each, order, 1)
    full = order % _MOST == _MOST - 1
    held_back = np.where(full, np.take_along_axis(gains[:, :, _MOST], order // _MOST, 1), 0.0)
    before = np.zeros_like(held_back)
    before[:, 1:] = np.maximum.accumulate(held_back, axis=1)[:, :-1]
    # Both only grow less likely along the order, so that the first cell that is not worth it ends it.
    taken = np.logical_and.accumulate(sorted_gains >= _WORTH * before, axis=1)
    taken &= np.arange(taken.shape[1]) < counts[:, None]
    given = np.zeros((b, cells), dtype=np.int64)
    example, place = np.nonzero(taken)
    np.add.at(given, (example, order[example, place] // _MOST), 1)
    return given


def placed(points: Array, given: Indices) -> list[Array]:
    """Return so many new points in each cell, at equal distances, in ascending order by example."""
    b, n = points.shape
    edges = np.zeros((b, n + 2))
    edges[:, 1:-1], edges[:, -1] = points, 1.0
    left, right = edges[:, :-1, None], edges[:, 1:, None]
    width, k, step = right - left, given[:, :, None], np.arange(1, _MOST + 1)
    found = left + width * step / (k + 1)
    free = width[:, [0, -1]] / (k[:, [0, -1]] + 0.5) * step
    found[:, 0], found[:, -1] = right[:, 0] - free[:, 0], left[:, -1] + free[:, 1]
    # Cells can become too narrow for a number between their ends, or for one above 0.
    inside = (step <= k) & (found > left) & (found < right)
    inside[:, :, 1:] &= found[:, :, 1:] != found[:, :, :-1]
    return [np.sort(own[here]) for own, here in zip(found, inside, strict=True)]


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


def unpaired(points: Array) -> Flags:
    """Return which points have no mirror on the other side of ½ among the others of their example, ``(B, n)``."""
    apart = np.abs(points[:, :, None] + points[:, None] - 1)
    found: Flags = apart.min(2, initial=1.0) > 1e-5
    return found
