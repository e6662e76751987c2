"""Clusters of examples as a page shows them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captum_xg.analysis.clusters import Cluster, Clusters
from captum_xg.errors import OptionError, OptionTypeError


@dataclass(frozen=True)
class ShownClusters:
    """Which cluster each example is in, and what there is to say of each.

    Attributes:
        members: The number of its cluster, −1 for none, for each example that is shown.
        told: Of each cluster: what the page has to know.
    """

    members: NDArray[np.int32]
    told: tuple[dict[str, object], ...]


def shown_clusters(value: object, own: NDArray[np.int64], ids: NDArray[np.int64], where: str) -> ShownClusters | None:
    """Return clusters as a page shows them.

    Args:
        value: None, or what :func:`captum_xg.analysis.cluster` returns.
        own: The ids of all examples that have attributions.
        ids: Those that are shown.
        where: For messages.

    Raises:
        OptionTypeError: If it is something else.
        OptionError: If they are of other examples.
    """
    if value is None:
        return None
    if not isinstance(value, Clusters):
        raise OptionTypeError(
            f"{where}: `clusters` must be what captum_xg.analysis.cluster returns, but is {type(value).__name__}."
        )
    if not np.array_equal(value.ids.clone().numpy(), own):
        raise OptionError(
            f"{where}: `clusters` are of {len(value.ids)} examples that are not the {len(own)} of `attributions`. Pass "
            "cluster(attributions) of the same folder."
        )
    members = value.index.clone().numpy().astype(np.int32)
    return ShownClusters(members[np.searchsorted(own, ids)], tuple(map(_told, value.clusters)))


def _told(cluster: Cluster) -> dict[str, object]:
    return {
        "name": cluster.name,
        "group": cluster.group,
        "size": cluster.size,
        "part": cluster.part,
        "accuracy": cluster.accuracy,
        "apart": cluster.apart,
        "typical": list(cluster.typical),
    }
