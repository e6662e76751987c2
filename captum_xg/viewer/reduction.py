"""What a page keeps of a large array: sums over areas, means over areas, and eight bits of each number."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
LEVELS = 127
"""Levels of each sign in eight bits."""
_LEAST = float(np.finfo(np.float64).tiny)


def fitting(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return the size of a picture whose longer side is at most ``longest``; smaller ones keep theirs."""
    share = min(1.0, longest / max(size))
    height, width = (max(1, round(side * share)) for side in size)
    return height, width


@lru_cache(16)
def area_weights(size: int, smaller: int) -> Numbers:
    r"""Return the share of each old cell that lies in each new one, shape ``(smaller, size)``; columns sum to 1.

    Cell i covers :math:`[i/n, (i+1)/n]`, so a new cell is a sum over parts of old ones and no total is lost.
    """
    old, new = np.arange(size + 1) / size, np.arange(smaller + 1) / smaller
    low = np.maximum(old[None, :-1], new[:-1, None])
    high = np.minimum(old[None, 1:], new[1:, None])
    weights = np.clip(high - low, 0, None) * size
    return np.asarray(weights / weights.sum(0))


def area_sums(maps: Numbers, size: tuple[int, int]) -> Numbers:
    """Return maps ``(…, H, W)`` in a smaller size; the sum of each is kept."""
    if maps.shape[-2:] == size:
        return maps
    rows, columns = (area_weights(old, new) for old, new in zip(maps.shape[-2:], size, strict=True))
    return np.asarray(rows @ maps @ columns.T)


def area_means(pictures: Numbers, size: tuple[int, int]) -> Numbers:
    """Return pictures ``(…, H, W)`` in a smaller size; the mean of each is kept."""
    height, width = pictures.shape[-2:]
    return np.asarray(area_sums(pictures, size) * (size[0] * size[1] / (height * width)))


def quantised(values: Numbers) -> tuple[NDArray[np.int8], float]:
    r"""Return numbers as eight bits and the number at their end.

    :math:`q = \operatorname{sign}(a)\,\operatorname{round}(127\sqrt{|a|/s})` with s the largest absolute value: most
    attributions are small beside the largest, and steps that grow with the value keep them apart. What
    :func:`restored` returns is off by at most :math:`\sqrt{|a|s}/127 + s/(4\cdot127^2)`; zero stays zero.
    """
    end = float(np.abs(values).max(initial=0.0))
    if not end > 0:
        return np.zeros(values.shape, np.int8), 0.0
    shares = np.minimum(np.abs(values) / end, 1)
    levels = np.sign(values) * np.rint(LEVELS * np.sqrt(shares))
    return levels.astype(np.int8), end


def restored(levels: NDArray[np.int8], end: float) -> Numbers:
    r"""Return the numbers that eight bits stand for: :math:`s\,q|q|/127^2`."""
    shares = levels.astype(np.float64) / LEVELS
    return np.asarray(end * shares * np.abs(shares))


def cosines(first: Numbers, other: Numbers) -> Numbers:
    """Return the cosine of each row of one array ``(N, n)`` and that of another; NaN where one is zero."""
    if first.shape != other.shape:
        return np.full(len(first), np.nan)
    one, two = (rows / np.maximum(np.abs(rows).max(1, keepdims=True, initial=0), _LEAST) for rows in (first, other))
    sizes = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    cosine: Numbers = np.divide((one * two).sum(1), sizes, out=np.full(len(first), np.nan), where=sizes > 0)
    return cosine


def gini(values: Numbers, counts: NDArray[np.int64] | None = None) -> Numbers:
    r"""Return the Gini coefficient of the absolute values of each row of ``(N, n)``: 0 all alike, near 1 a single one.

    :math:`\sum_i (2i - n - 1)\,|a|_{(i)} \,/\, (n\sum_i |a|_i)` for sorted values; NaN where all are zero.

    Args:
        values: Rows.
        counts: How many numbers of each row count, ``(N,)``, if not all; the others are zero.
    """
    ordered = np.sort(np.abs(values), axis=1)
    largest = ordered[:, -1:] if ordered.shape[1] else ordered
    ordered = np.divide(ordered, largest, out=np.zeros_like(ordered), where=largest > 0)  # of any size
    n = np.full(len(values), ordered.shape[1]) if counts is None else counts
    total = ordered.sum(1)
    ranks = np.arange(1, ordered.shape[1] + 1) - ordered.shape[1] + n[:, None]  # zeros come first
    weighted = (ordered * (2 * ranks - n[:, None] - 1)).sum(1)
    return np.asarray(np.divide(weighted, n * total, out=np.full(len(values), np.nan), where=total > 0))
