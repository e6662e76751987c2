"""Clusters of attributions: ways in which a class is decided, and how far each stands apart from the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from captum_xg._core.options import one_of, positive_integer
from captum_xg._core.text import Table, displayed
from captum_xg.analysis.maps import MeanMaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@displayed
@dataclass(frozen=True)
class Cluster:
    r"""Examples of one class whose attributions lie in the same places.

    Attributes:
        name: The class and a number, as in ``"Bag/2"``; numbers go from 0, the largest cluster of its class.
        group: The name of the class.
        size: How many examples.
        part: Their share of the class, in [0, 1].
        accuracy: How many of those with a known label are classified rightly, in [0, 1]; None if there are none.
        apart: How far it stands apart, in [−1, 1]: mean over its examples of (b − a) / max(a, b), with a the distance
            to its own centre and b that to the nearest other centre of the class; 0 if there is no other.
        typical: Ids of the examples nearest to the centre, the nearest first.
    """

    name: str
    group: str
    size: int
    part: float
    accuracy: float | None
    apart: float
    typical: tuple[int, ...]


@displayed
@dataclass(frozen=True)
class Clusters:
    """The clusters of all classes.

    Attributes:
        clusters: Those that stand apart most first.
        ids: Positions of the N examples in the data set.
        index: For each example the place of its cluster in ``clusters``; −1 for examples without any attribution or
            of no known class. Shape ``(N,)``.
        maps: The mean maps of the clusters, in the order of ``clusters``.
        family: For each cluster the number of its class among those that occur, ``(G,)``.
    """

    clusters: tuple[Cluster, ...]
    ids: Tensor
    index: Tensor = field(repr=False)
    maps: MeanMaps = field(repr=False)
    family: Tensor = field(repr=False)

    def members(self, name: str) -> Tensor:
        """Return the ids of the examples of a cluster.

        Raises:
            OptionError: If there is no such cluster.
        """
        names = [cluster.name for cluster in self.clusters]
        place = names.index(one_of(name, names, "name", "Clusters.members"))
        return self.ids[self.index == place]

    def plot(self, most: int = 15) -> Figure:
        """Return a figure with the mean share of the attributions of the clusters that stand apart most.

        Args:
            most: At most so many clusters.
        """
        from captum_xg.analysis.figure import draw_maps

        n = positive_integer(most, "most", "Clusters.plot")
        titles = [f"{cluster.name}\n{cluster.size:,}, apart {cluster.apart:.2f}" for cluster in self.clusters[:n]]
        return draw_maps(self.maps.share[:n], titles, "mean share of |attribution|", signed=False)

    def _parts(self) -> list[str | Table]:
        rows = [("cluster", "examples", "of its class", "accuracy", "apart", "typical examples")]
        for each in self.clusters[:40]:
            right = "—" if each.accuracy is None else f"{each.accuracy:.1%}"
            typical = ", ".join(map(str, each.typical))
            rows.append((each.name, f"{each.size:,}", f"{each.part:.1%}", right, f"{each.apart:.2f}", typical))
        more = len(self.clusters) - len(rows) + 1
        title = (
            f"{len(self.clusters)} clusters of {int((self.index >= 0).sum()):,} examples, by how far they stand apart"
        )
        return [title, Table(rows), *([f"and {more} more"] if more else [])]
