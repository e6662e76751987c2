"""Related features alike: differences of attributions along the edges of a graph."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from captum_xg._core.distributed import Group, checked_group
from captum_xg._core.options import one_of, switch
from captum_xg.priors.base import AttributionPrior
from captum_xg.priors.edges import edge_list
from captum_xg.priors.shapes import mean_absolute, numbered_features
from captum_xg.priors.total_variation import check_power, raised


class GraphSmoothness(AttributionPrior):
    r"""The weighted differences of attributions along the edges of a graph of features.

    .. math:: \Omega(A) = \frac{1}{N} \sum_{x} \sum_{\{i, j\}} w_{ij}\, |A_i(x) - A_j(x)|^p
              \quad\text{or}\quad \sum_{\{i, j\}} w_{ij}\, |\bar a_i - \bar a_j|^p

    with ā the mean over the batch of \|A\|. Edges have no direction and count once each; for p = 2 the sum is aᵀLa
    with the graph Laplacian L = D − W.

    Range: 0, where connected features are alike, to ∞. Degree p.

    Args:
        edges_or_adjacency: int64 ``(2, E)``, the two features of each edge, each edge once in either direction; or a
            symmetric matrix ``(n, n)`` of weights, dense (floating-point or boolean) or sparse, whose diagonal does not
            matter. Features are numbered as in ``attributions.flatten(1)``.
        weights: One for each of the edges, finite and ≥ 0; 1 if None.
        power: p, 1 for absolute differences or 2 for squared ones.
        of: ``"attributions"`` of each example (left), or ``"mean_absolute"``, ā (right), as in the source.
        across_processes: For ā, take the mean over the examples of all processes, as
            :class:`~captum_xg.GiniSparsity` does.
        process_group: The processes that share a batch; all if None.

    Shapes: attributions ``(N, …)`` with n features.

    Raises:
        OptionError: If an option has no such value, or the graph is not valid: not symmetric, weights that are
            negative or not finite, an edge listed twice.
        PriorError: When called, if the attributions do not have these features.

    Source: Erion et al. 2021, *Improving performance of deep learning models with axiomatic attribution priors and
    expected gradients* (graph attribution prior, āᵀLā).
    """

    edges: Tensor
    weights: Tensor

    def __init__(
        self,
        edges_or_adjacency: Tensor,
        weights: Tensor | None = None,
        *,
        power: Literal[1, 2] = 2,
        of: Literal["attributions", "mean_absolute"] = "attributions",
        across_processes: bool = True,
        process_group: Group = None,
    ) -> None:
        super().__init__()
        where = "GraphSmoothness"
        edges, values, self.n_features = edge_list(edges_or_adjacency, weights, where)
        self.register_buffer("edges", edges)
        self.register_buffer("weights", values)
        self._largest = int(edges.max()) if edges.numel() else -1
        self.power = check_power(power, where)
        self.of_what = one_of(of, ("attributions", "mean_absolute"), "of", where)
        self.across_processes = switch(across_processes, "across_processes", where)
        self.process_group = checked_group(process_group, where)

    def penalty(self, attributions: Tensor) -> Tensor:
        """Return the weighted sum of differences, averaged over examples if it is one for each."""
        rows = numbered_features(attributions, self.n_features, self._largest, "GraphSmoothness")
        if self.of_what == "mean_absolute":
            rows = mean_absolute(attributions, self.across_processes, self.process_group).unsqueeze(0)
        difference = rows.index_select(1, self.edges[0]) - rows.index_select(1, self.edges[1])
        return (raised(difference, self.power) * self.weights.to(rows)).sum() / len(rows)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"edges={self.edges.shape[1]}, power={self.power}, of={self.of_what!r}"
