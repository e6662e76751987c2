"""Find clusters of attributions within classes, without being told what to look for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_xg._core.options import integer, positive_integer
from captum_xg.analysis.clusters import Cluster, Clusters
from captum_xg.analysis.groups import By, grouped
from captum_xg.analysis.maps import MapSums
from captum_xg.analysis.pooling import lengthened, pooled
from captum_xg.analysis.reading import Choice, chosen
from captum_xg.analysis.spectral import clustering_library, joined, spectral_clusters

if TYPE_CHECKING:
    from captum_xg.datasets.attributions import Attributions

_WHERE = "cluster"
LEAST = 10
"""A class has at most one cluster for so many examples."""
TYPICAL = 5
"""So many typical examples are named."""
_ROUNDING, _HALF_ROUNDING = 2.0**-20, 2.0**-10
"""What rounding may add to shares, as a part of them: where attributions are kept in 32 bits or more, and in 16."""


def cluster(
    attributions: Attributions | str | Path,
    *,
    by: By = "target",
    clusters: int = 8,
    pool: int = 7,
    classes: Sequence[str] = (),
    target: int = 0,
    input: int = 0,
    batch_size: int = 256,
    sample: int = 2000,
    seed: int = 0,
) -> Clusters:
    r"""Return clusters of the examples of each class, by where their attributions lie.

    Absolute attributions of each example are divided by their sum, summed over the cells of a coarse grid, and those of
    a class are clustered by spectral clustering of the graph of their 10 nearest neighbours. A class that is decided by
    different evidence in some of its examples, such as a mark in a corner, shows it by a cluster that stands apart.
    Clusters whose centres differ by no more than rounding are one.
    The folder is read twice, and ``pool``\ ² numbers of each example are kept.

    Args:
        attributions: What :func:`captum_xg.explain_dataset` returns, or the folder.
        by: What classes are of: the ``"target"`` that was explained, the ``"label"`` or the ``"prediction"``.
        clusters: In each class at most, and at most one for 10 examples.
        pool: Cells of the grid along each dimension of a map; attributions of one dimension have at most ``pool``\ ²
            cells. Features have no neighbours: with fewer of them than that, nothing is summed.
        classes: Names of the classes from 0 on.
        target: Which of the targets of each example, where several were explained.
        input: Which of the inputs of the model.
        batch_size: Examples that are read at a time.
        sample: So many examples of a class are clustered; others join the one that is nearest to them.
        seed: Of what is random: which examples are clustered, and how scikit-learn starts.

    Raises:
        OptionError, FileError: If an option does not fit the folder, or it cannot be read.
        MissingPackageError: If scikit-learn is not installed.

    Source: Lapuschkin et al. 2019, *Unmasking Clever Hans predictors and assessing what machines really learn*
    (SpRAy). There signed relevance is clustered, and the number of clusters chosen by eye from gaps of eigenvalues.
    """
    clustering_library()  # what is missing is said before anything is read
    most, cells = positive_integer(clusters, "clusters", _WHERE), positive_integer(pool, "pool", _WHERE)
    most_clustered = integer(sample, "sample", _WHERE, least=LEAST * most)
    seed = integer(seed, "seed", _WHERE, least=0)
    choice = chosen(attributions, target, input, batch_size, _WHERE)
    grouping = grouped(choice, by, classes, _WHERE)
    vectors, empty = _vectors(choice, cells)
    found: list[tuple[Cluster, int, Tensor]] = []
    rounding = _HALF_ROUNDING if choice.found.settings.get("dtype") == "float16" else _ROUNDING
    for family, name in enumerate(grouping.names):
        members = ((grouping.index == family) & ~empty).nonzero().flatten()
        if len(members):
            number = max(1, min(most, len(members) // LEAST))
            own = vectors[members].double()
            labels = spectral_clusters(own, number, most_clustered, seed)
            same = rounding * float(own.norm(dim=1).max())
            found += _described(choice, own, members, joined(own, labels, same), name, family, same)
    found.sort(key=lambda each: -each[0].apart)
    return _result(choice, found)


def _vectors(choice: Choice, cells: int, longest: int = 0) -> tuple[Tensor, Tensor]:
    """Return the pooled maps of all examples, and which of them have no attribution at all.

    The cells of texts are those of the longest; where their length turns out to differ, all are read once more.
    """
    vectors: list[Tensor] = []
    empty = torch.zeros(len(choice.found), dtype=torch.bool)
    lengths = set()
    for part in choice.parts():
        shares = part.shares()
        if part.tokens is not None:
            shares = lengthened(shares, longest)
            lengths.add(shares.shape[1])
        vectors.append(pooled(shares, cells))
        empty[part.rows] = part.total == 0
    return _vectors(choice, cells, max(lengths)) if len(lengths) > 1 else (torch.cat(vectors), empty)


def _described(
    choice: Choice, own: Tensor, members: Tensor, labels: Tensor, group: str, family: int, same: float
) -> list[tuple[Cluster, int, Tensor]]:
    """Return the clusters of a class, each with the number of the class and its members.

    Args:
        choice: What is read.
        own: Vectors of the examples of the class.
        members: Their places in the folder.
        labels: The cluster of each.
        group: The name of the class.
        family: Its number.
        same: Distances up to this are rounding, and count as 0.
    """
    numbers = range(int(labels.max()) + 1)
    centres = torch.stack([own[labels == i].mean(0) for i in numbers])
    distances = torch.cdist(own, centres)
    distances[distances <= same] = 0
    found = []
    for i in numbers:
        inside = labels == i
        near = distances[inside, i]
        rows = members[inside]
        nearest = near.sort(stable=True).indices[:TYPICAL]
        found.append(
            (
                Cluster(
                    f"{group}/{i}",
                    group,
                    len(rows),
                    len(rows) / len(members),
                    _accuracy(choice, rows),
                    _apart(distances[inside], i),
                    tuple(choice.found.ids[rows[nearest]].tolist()),
                ),
                family,
                rows,
            )
        )
    return found


def _apart(distances: Tensor, own: int) -> float:
    """Return the mean silhouette of examples by their distances ``(n, k)`` to all centres."""
    if distances.shape[1] == 1:
        return 0.0
    near = distances[:, own]
    other = distances.clone()
    other[:, own] = torch.inf
    far = other.amin(1)
    scale = torch.maximum(near, far)
    return float(torch.where(scale > 0, (far - near) / scale, 0.0).mean())


def _accuracy(choice: Choice, rows: Tensor) -> float | None:
    labels, predictions = choice.found.labels, choice.found.predictions
    if labels is None:
        return None
    known = rows[(labels[rows] >= 0) & (predictions[rows] >= 0)]  # a single output predicts no class
    return float((predictions[known] == labels[known]).double().mean()) if len(known) else None


def _result(choice: Choice, found: list[tuple[Cluster, int, Tensor]]) -> Clusters:
    index = torch.full((len(choice.found),), -1)
    for place, (_, _, rows) in enumerate(found):
        index[rows] = place
    sums = MapSums(tuple(each.name for each, _, _ in found), index)
    for part in choice.parts():
        sums.add(part)
    family = torch.tensor([number for _, number, _ in found], dtype=torch.int64)
    return Clusters(tuple(each for each, _, _ in found), choice.found.ids, index, sums.means(), family)
