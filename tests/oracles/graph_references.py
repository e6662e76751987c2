"""Message passing from its formulas: one node, one edge and one graph at a time, in Python's loops."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def linear(layer: nn.Linear, v: Tensor) -> Tensor:
    return layer.weight @ v + (0 if layer.bias is None else layer.bias)


def gin_reference(model: nn.Module, nodes: Tensor, edges: Tensor, edge_index: Tensor, graph: Tensor) -> Tensor:
    """F(x, e) = Σ_l R_l Σ_i h_i⁽ˡ⁾ of each graph, from lists of nodes and directed edges."""
    rows = []
    for g in range(int(graph.max()) + 1):
        own = [i for i in range(len(nodes)) if int(graph[i]) == g]
        h = {i: linear(model.node, nodes[i]) for i in own}
        sums = [sum(h.values())]
        for layer in model.layers:
            new = {}
            for i in own:
                inside = (1 + layer.eps) * h[i]
                for k in range(edge_index.shape[1]):
                    j, to = (int(end) for end in edge_index[:, k])
                    if to == i:
                        inside = inside + torch.clamp(h[j] + linear(layer.edge, edges[k]), min=0)
                new[i] = h[i] + linear(layer.second, torch.clamp(linear(layer.first, inside), min=0))
            h = new
            sums.append(sum(h.values()))
        rows.append(linear(model.head, torch.cat(sums)))
    return torch.stack(rows)
