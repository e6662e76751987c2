"""Spectral clustering of vectors by scikit-learn: of a sample of them, which the others join."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.loading import of_extra

NEIGHBOURS = 10


def spectral_clusters(vectors: Tensor, clusters: int, sample: int, seed: int) -> Tensor:
    """Return the number of the cluster of each vector, ``(n,)``: 0 is the largest.

    Args:
        vectors: ``(n, P)``.
        clusters: How many; fewer than n.
        sample: So many vectors at most, drawn at random, are clustered; each other one is in the cluster of that of
            them which is nearest.
        seed: Of the draw and of the random starts of scikit-learn.

    Raises:
        MissingPackageError: If scikit-learn is not installed.
    """
    n, vectors = len(vectors), vectors.double()
    if clusters <= 1:
        return torch.zeros(n, dtype=torch.int64)
    # At random: data may be in an order that repeats itself, and equal distances would then hit always the same.
    used = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:sample].sort().values
    method = clustering_library().SpectralClustering(
        clusters, affinity="nearest_neighbors", n_neighbors=min(NEIGHBOURS, len(used) - 1), random_state=seed
    )
    with warnings.catch_warnings():
        # That the graph falls into parts, which is what is looked for; that there are fewer different points.
        warnings.simplefilter("ignore", UserWarning)
        found = torch.as_tensor(method.fit_predict(vectors[used].numpy()), dtype=torch.int64)
    if len(used) < n:
        found = torch.cat([found[torch.cdist(part, vectors[used]).argmin(1)] for part in torch.split(vectors, 1024)])
    return _by_size(found)


def joined(vectors: Tensor, labels: Tensor, same: float) -> Tensor:
    """Return the number of the cluster of each vector, once clusters with centres at the same place are joined.

    Args:
        vectors: ``(n, P)``.
        labels: The cluster of each, ``(n,)``, from 0 on without gaps.
        same: Centres up to this distance are at the same place.
    """
    numbers = range(int(labels.max()) + 1)
    centres = torch.stack([vectors[labels == i].mean(0) for i in numbers])
    near = torch.cdist(centres, centres) <= same
    # Step by step: what is near to one that is near belongs to it as well.
    for _ in numbers:
        near = (near.double() @ near.double()) > 0
    first: Tensor = near.double().argmax(1)
    return _by_size(first[labels])


def clustering_library() -> Any:
    """Return scikit-learn's clustering.

    Raises:
        MissingPackageError: If it is not installed.
    """
    return of_extra("sklearn.cluster", "clusters are found by scikit-learn", "scan")


def _by_size(found: Tensor) -> Tensor:
    """Return clusters numbered by size, equal ones by their first member."""
    names, number = torch.unique(found, return_inverse=True)
    sizes = number.bincount(minlength=len(names))
    first = [int((number == i).nonzero()[0]) for i in range(len(names))]
    order = sorted(range(len(names)), key=lambda i: (-int(sizes[i]), first[i]))
    place = torch.empty(len(names), dtype=torch.int64)
    place[torch.tensor(order)] = torch.arange(len(names))
    return place[number]
