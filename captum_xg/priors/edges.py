"""Undirected graphs of features as lists of edges, from whatever form they come in."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg.errors import OptionError, OptionTypeError


def edge_list(graph: object, weights: object, where: str) -> tuple[Tensor, Tensor, int | None]:
    """Return edges ``(2, E)``, each once, their weights, and the number of features if the graph fixes it.

    Raises:
        OptionError: If this is not an undirected graph with finite weights ≥ 0.
    """
    if not isinstance(graph, Tensor):
        raise OptionTypeError(
            f"{where}: the graph must be a tensor, an adjacency matrix or edges (2, E), but is {type(graph).__name__}."
        )
    graph = graph.detach()
    if graph.layout == torch.strided and not (graph.is_floating_point() or graph.dtype == torch.bool):
        edges, values, n = _from_edges(graph, weights, where)
    else:
        if weights is not None:
            raise OptionError(f"{where}: `weights` belong to a list of edges; an adjacency matrix holds its own.")
        edges, values, n = _from_adjacency(graph, where)
    if not bool(((values >= 0) & (values < float("inf"))).all()):
        raise OptionError(f"{where}: the weights of edges must be finite numbers ≥ 0.")
    # Copies, for a buffer that is loaded is written to.
    return edges.clone(), values.clone(), n


def _from_edges(edges: Tensor, weights: object, where: str) -> tuple[Tensor, Tensor, None]:
    if edges.dtype != torch.int64 or edges.dim() != 2 or edges.shape[0] != 2:
        raise OptionError(
            f"{where}: edges must be int64 of shape (2, E) but are {edges.dtype} of shape {tuple(edges.shape)}. If "
            "this is an adjacency matrix, make it floating-point or boolean."
        )
    if bool((edges < 0).any()):
        raise OptionError(f"{where}: edges have negative indices of features.")
    low, high = edges.amin(0), edges.amax(0)
    pairs, counts = torch.stack([low, high]).unique(dim=1, return_counts=True)  # type: ignore[no-untyped-call]
    if bool((counts > 1).any()):
        i, j = pairs[:, counts > 1][:, 0].tolist()
        raise OptionError(
            f"{where}: the edge between features {i} and {j} is listed {int(counts.max())} times. Edges have no "
            "direction: list each once, for example edges[:, edges[0] < edges[1]] if they are listed both ways."
        )
    if weights is None:
        return edges, torch.ones(edges.shape[1], device=edges.device), None
    if not isinstance(weights, Tensor) or weights.is_complex() or tuple(weights.shape) != (edges.shape[1],):
        kind = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise OptionError(
            f"{where}: `weights` must be a tensor of shape ({edges.shape[1]},), one per edge, not {kind}."
        )
    values = weights.detach().to(edges.device)
    return edges, values if values.is_floating_point() else values.float(), None


def _from_adjacency(adjacency: Tensor, where: str) -> tuple[Tensor, Tensor, int]:
    if adjacency.dim() != 2 or adjacency.shape[0] != adjacency.shape[1] or adjacency.is_complex():
        raise OptionError(
            f"{where}: an adjacency matrix must be real and square but is {adjacency.dtype} of shape "
            f"{tuple(adjacency.shape)}."
        )
    matrix = adjacency.to_sparse_coo()  # type: ignore[no-untyped-call]
    indices, values = matrix._indices(), matrix._values()
    values = values if values.is_floating_point() else values.float()
    n = adjacency.shape[0]
    # Repeated entries of a sparse matrix mean their sum.
    matrix = torch.sparse_coo_tensor(indices, values, (n, n), check_invariants=True).coalesce()
    mirrored = matrix.t().coalesce()
    if not (
        torch.equal(matrix.indices(), mirrored.indices())
        and torch.allclose(matrix.values(), mirrored.values(), rtol=1e-5, atol=0, equal_nan=True)
    ):
        raise OptionError(
            f"{where}: the adjacency matrix is not symmetric. The graph has no direction: pass (W + W.T) / 2, or edges."
        )
    upper = matrix.indices()[0] < matrix.indices()[1]
    if not bool(torch.isfinite(matrix.values()).all()):
        raise OptionError(f"{where}: the adjacency matrix has entries that are NaN or infinite.")
    return matrix.indices()[:, upper], matrix.values()[upper], n
