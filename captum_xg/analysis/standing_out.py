"""Find regions that stand out: all boxes of some sizes at all places, by a scan statistic of the attributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._core.options import integer, positive_integer
from captum_xg.analysis.clusters import Clusters
from captum_xg.analysis.maps import MeanMaps
from captum_xg.analysis.regions import Region, Regions
from captum_xg.analysis.summary import Summary
from captum_xg.errors import OptionError, OptionTypeError

_WHERE = "find_regions"
SIZES = 9
"""So many sizes are tried by default."""


@dataclass(frozen=True)
class _Scored:
    """All boxes of one size: score, place of the group in which it is reached, shares there and elsewhere; flat."""

    size: tuple[int, ...]
    score: Tensor
    group: Tensor
    inside: Tensor
    elsewhere: Tensor


def find_regions(
    found: Clusters | MeanMaps | Summary,
    *,
    sizes: Sequence[int | tuple[int, ...]] | None = None,
    most: int = 20,
    at_least: int = 10,
) -> Regions:
    r"""Return regions that have more of the attributions of one group of examples than of the others.

    A group is a cluster, compared with the others of its class, or a class, compared with the others. With p the
    mean share of \|A\| that a box has in a group, and q < p that in the others, its score is

    .. math:: p \log \frac pq + (1 - p) \log \frac{1 - p}{1 - q},

    in nats: the likelihood ratio of Kulldorff's scan statistic, for each unit of attribution. A box that is larger than
    what stands out adds as much to q as to p, a smaller one leaves some of p out: the best box fits. To p and q one
    example is added whose attributions are spread evenly: they are never 0, and small groups count less. The score of a
    box is its highest in any group. Of boxes that overlap only the best is kept.

    Args:
        found: What :func:`~captum_xg.analysis.cluster` or :func:`~captum_xg.analysis.summarize` returns.
        sizes: Of the boxes: numbers for squares, or one number for each dimension. By default squares with sides
            from a fourteenth to three eighths of the shorter side of a map, at most 9 sizes.
        most: At most so many regions.
        at_least: Groups of fewer examples, or without others to compare with, are passed over.

    Raises:
        OptionError: If a size does not fit the maps, or these have more than two dimensions.

    Source: Kulldorff 1997, *A spatial scan statistic*.
    """
    maps, family = _maps_of(found)
    shape = tuple(maps.share.shape[1:])
    if len(shape) > 2:
        raise OptionError(f"{_WHERE}: maps must have one or two dimensions, but these have {len(shape)}: {shape}.")
    boxes = _sizes(sizes, shape)
    most = positive_integer(most, "most", _WHERE)
    if not maps.names:  # no example has any attribution
        return Regions((), shape, maps.share)
    counts = (maps.counts - maps.empty).double()
    whole = torch.zeros(int(family.max()) + 1, *shape, dtype=torch.float64)
    weights = counts.reshape(-1, *[1] * len(shape))
    whole.index_add_(0, family, maps.share * weights)
    n = torch.zeros(len(whole), dtype=torch.float64).index_add_(0, family, counts)
    used = (counts >= integer(at_least, "at_least", _WHERE, least=1)) & (n[family] > counts)
    if not bool(used.any()):
        return Regions((), shape, maps.share[:0])
    own = (maps.share * weights)[used]
    others = whole[family[used]] - own
    scored = [_score(own, others, counts[used], (n[family] - counts)[used], size) for size in boxes]
    places = used.nonzero().flatten()
    regions = [
        Region(
            corner,
            box.size,
            maps.names[places[box.group[i]]],
            *(float(v[i]) for v in (box.inside, box.elsewhere, box.score)),
        )
        for box, i, corner in _best(scored, shape, most)
    ]
    rows = [maps.names.index(region.group) for region in regions]
    return Regions(tuple(regions), shape, maps.share[rows])


def _maps_of(found: object) -> tuple[MeanMaps, Tensor]:
    """Return mean maps, and for each the number of those that it is compared within."""
    if isinstance(found, Clusters):
        return found.maps, found.family
    maps = found.maps if isinstance(found, Summary) else found
    if not isinstance(maps, MeanMaps):
        raise OptionTypeError(
            f"{_WHERE}: `found` must be clusters, mean maps or a summary but is {type(found).__name__}. Pass what "
            "cluster(attributions) or summarize(attributions) returns."
        )
    return maps, torch.zeros(len(maps.names), dtype=torch.int64)


def _sizes(sizes: Sequence[int | tuple[int, ...]] | None, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    if sizes is None:
        short = min(shape)
        first, last = max(1, round(short / 14)), max(1, round(short * 3 / 8))
        if last - first < SIZES:
            sides = list(range(first, last + 1))
        else:
            ratio = (last / first) ** (1 / (SIZES - 1))
            sides = sorted({round(first * ratio**i) for i in range(SIZES)})
        return [(side,) * len(shape) for side in sides]
    boxes = []
    for given in sizes:
        box = tuple(given) if isinstance(given, (tuple, list)) else (given,) * len(shape)
        box = tuple(positive_integer(side, "sizes", _WHERE) for side in box)
        if len(box) != len(shape) or any(side > length for side, length in zip(box, shape, strict=True)):
            raise OptionError(f"{_WHERE}: `sizes` has {given}, which does not fit into maps of shape {shape}.")
        boxes.append(box)
    if not boxes:
        raise OptionError(f"{_WHERE}: `sizes` is empty. Leave it out for sizes that fit the maps.")
    return boxes


def _score(own: Tensor, others: Tensor, n_own: Tensor, n_others: Tensor, size: tuple[int, ...]) -> _Scored:
    """Return the best score of each box of a size over groups.

    Args:
        own: Sums of shares of each group, ``(G, *S)``.
        others: Likewise of those that it is compared with.
        n_own: How many examples each is a sum of, ``(G,)``.
        n_others: Likewise.
        size: Of the boxes.
    """
    even = math.prod(size) / own[0].numel()
    beside = (-1, *[1] * (own.dim() - 1))
    p_sum, q_sum = _box_sums(own, size), _box_sums(others, size)
    p = (p_sum + even) / (n_own.reshape(beside) + 1)
    q = (q_sum + even) / (n_others.reshape(beside) + 1)
    # xlogy: a box that is the whole map has p = 1.
    score = torch.xlogy(p, p / q) + torch.xlogy(1 - p, (1 - p).clamp_min(0) / (1 - q).clamp_min(1e-300))
    score = torch.where(p > q, score, 0.0).flatten(1)
    best, group = score.max(0)
    inside = (p_sum / n_own.reshape(beside)).flatten(1).gather(0, group[None])[0]
    elsewhere = (q_sum / n_others.reshape(beside)).flatten(1).gather(0, group[None])[0]
    return _Scored(size, best, group, inside, elsewhere)


def _box_sums(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the sums of maps ``(G, *S)`` over all boxes of a size, by cumulative sums."""
    for dim, length in enumerate(size, 1):
        sums = torch.cat([maps.new_zeros(maps.narrow(dim, 0, 1).shape), maps.cumsum(dim)], dim)
        n = maps.shape[dim] - length + 1
        maps = (sums.narrow(dim, length, n) - sums.narrow(dim, 0, n)).clamp_min(0)  # rounding may leave −1e-17
    return maps


def _best(scored: Sequence[_Scored], shape: tuple[int, ...], most: int) -> list[tuple[_Scored, int, tuple[int, ...]]]:
    """Return the best boxes that do not overlap: in which of the sizes, which of its boxes, and its first place."""
    waiting = [box.score.clone() for box in scored]
    corners = [_corners(box.size, shape) for box in scored]
    kept: list[tuple[_Scored, int, tuple[int, ...]]] = []
    while len(kept) < most:
        tops = [float(score.max()) for score in waiting]
        k = max(range(len(tops)), key=lambda i: tops[i])
        if tops[k] <= 0:
            break
        i = int(waiting[k].argmax())
        corner, size = corners[k][i], torch.tensor(scored[k].size)
        kept.append((scored[k], i, tuple(corner.tolist())))
        for score, others, box in zip(waiting, corners, scored, strict=True):
            other = torch.tensor(box.size)
            shared = (torch.minimum(others + other, corner + size) - torch.maximum(others, corner)).clamp_min(0).prod(1)
            score[shared > 0] = 0
    return kept


def _corners(size: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """Return the first places of all boxes of a size, in the order of their sums."""
    ranges = [torch.arange(length - side + 1) for side, length in zip(size, shape, strict=True)]
    return torch.cartesian_prod(*ranges).reshape(-1, len(shape))
