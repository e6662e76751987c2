"""What attributions of a whole data set have in common: mean maps, shares, clusters, regions that stand out."""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.analysis.clustering import cluster
    from captum_xg.analysis.clusters import Cluster, Clusters
    from captum_xg.analysis.maps import MeanMaps
    from captum_xg.analysis.regions import Region, Regions
    from captum_xg.analysis.scores import Scores
    from captum_xg.analysis.standing_out import find_regions
    from captum_xg.analysis.summary import Summary, summarize
    from captum_xg.analysis.vocabulary import TokenShares
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "clustering": ("cluster",),
            "clusters": ("Cluster", "Clusters"),
            "maps": ("MeanMaps",),
            "regions": ("Region", "Regions"),
            "scores": ("Scores",),
            "standing_out": ("find_regions",),
            "summary": ("Summary", "summarize"),
            "vocabulary": ("TokenShares",),
        },
    )

__all__ = [
    "Cluster",
    "Clusters",
    "MeanMaps",
    "Region",
    "Regions",
    "Scores",
    "Summary",
    "TokenShares",
    "cluster",
    "find_regions",
    "summarize",
]
