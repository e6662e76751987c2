"""Message passing over graphs: ``xgin``, which is of degree 1 in nodes and edges together, and ``gin``, its twin.

The features of nodes *and* of edges are inputs. In both together a network without biases is of degree 1, so that an
output is the sum of what its nodes and its edges are given; which node an edge joins to which is structure, no number.
In the nodes alone it has no degree: the message from a node over an edge is ReLU(h + e), which an e that stays as it
is shifts. So pass both as inputs::

    model = xgin(pretrained=True)
    graphs = …                       # Graphs(nodes, edges, ends, padding), padded: the first dimension counts graphs
    atoms, bonds = XGradient(model).attribute(graphs.inputs, additional_forward_args=graphs.structure)
    atoms.sum((1, 2)) + bonds.sum((1, 2))          # = model(*graphs)[:, 0]

Captum takes the first dimension of every tensor for examples. Graphs in one long list of nodes, as PyTorch Geometric
batches them, have as many rows as nodes, while the output has a row for each graph; so graphs are padded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from captum_xg._core.options import positive_integer, switch
from captum_xg._core.text import displayed
from captum_xg.errors import InputError, OptionTypeError
from captum_xg.models.small_weights import load_small

NODE_FEATURES, EDGE_FEATURES = 29, 6
"""Those of atoms and bonds in :mod:`captum_xg.datasets.molecules`."""

Move: TypeAlias = Callable[[Tensor], Tensor]


@displayed
class Graphs(NamedTuple):
    """B graphs, padded to the A nodes and E edges of the largest ones.

    Attributes:
        nodes: Features, ``(B, A, d)``; zero where there is no node.
        edges: Features of undirected edges, ``(B, E, c)``; zero where there is no edge.
        ends: The two nodes of each edge, ``(B, E, 2)``, integers from 0 to A − 1; −1 where there is no edge.
        padding: ``(B, A)``, True where there is no node.
    """

    nodes: Tensor
    edges: Tensor
    ends: Tensor
    padding: Tensor

    @property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """What is explained: features of nodes and of edges."""
        return self.nodes, self.edges

    @property
    def structure(self) -> tuple[Tensor, Tensor]:
        """What is not: which nodes edges join, and where there is no node."""
        return self.ends, self.padding

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Graphs:
        """Return them on a device, features in a dtype."""
        nodes, edges = (features.to(device, dtype) for features in self.inputs)
        return Graphs(nodes, edges, self.ends.to(device), self.padding.to(device))

    def take(self, which: Tensor) -> Graphs:
        """Return some of the graphs, no larger than the largest of them."""
        nodes, edges, ends, padding = (each[which] for each in self)
        most = max(1, int((~padding).sum(1).max())) if len(padding) else 1
        joined = max(1, int((ends[..., 0] >= 0).sum(1).max())) if len(padding) else 1
        return Graphs(nodes[:, :most], edges[:, :joined], ends[:, :joined], padding[:, :most])


class GINLayer(nn.Module):
    r"""One round of messages along the edges.

    .. math:: h_i' = h_i + V \max\Big(0,\; U \big[(1 + \varepsilon) h_i
        + \sum_{j \sim i} \max(0, h_j + C e_{ij})\big]\Big)

    the sum over the neighbours of i. In square brackets is what GINE passes to its network; beside it is the state
    itself, as in a residual network. Without biases h′ is of degree 1 in h and e together, and zero where both are.

    Args:
        width: Of the states h.
        edge_features: c, of the features e.
        bias: Whether U, V and C have biases.

    Source: Hu et al. 2020, *Strategies for Pre-training Graph Neural Networks* (GINE), after Xu et al. 2019, *How
        Powerful are Graph Neural Networks?*
    """

    def __init__(self, width: int, edge_features: int, *, bias: bool) -> None:
        super().__init__()
        self.edge = nn.Linear(edge_features, width, bias=bias)
        self.eps = nn.Parameter(torch.zeros(()))
        self.first = nn.Linear(width, width, bias=bias)
        self.second = nn.Linear(width, width, bias=bias)

    def forward(self, h: Tensor, e: Tensor, starts: Move, sums: Move) -> Tensor:
        """Return the new states.

        Args:
            h: States of nodes, ``(…, width)``.
            e: Features of directed edges, ``(…, c)``.
            starts: From states of nodes to those where edges start.
            sums: From messages of edges to their sums at the nodes where they end.
        """
        received = sums(torch.relu(starts(h) + self.edge(e)))
        updated: Tensor = h + self.second(torch.relu(self.first((1 + self.eps) * h + received)))
        return updated


class GIN(nn.Module):
    r"""Rounds of messages, and linear readouts of the sums over the nodes before, between and after them.

    .. math:: F(x, e) = \sum_{l=0}^L R_l \sum_i h_i^{(l)}, \qquad h_i^{(0)} = P x_i

    Args:
        node_features: d.
        edge_features: c.
        width: Of the states of nodes.
        num_layers: L.
        num_outputs: Numbers in the output.
        bias: Whether there are biases.

    Source: Xu et al. 2019, *How Powerful are Graph Neural Networks?* (sums, readouts of all layers); layers: see
        :class:`GINLayer`.
    """

    def __init__(
        self, node_features: int, edge_features: int, *, width: int, num_layers: int, num_outputs: int, bias: bool
    ) -> None:
        super().__init__()
        self.node = nn.Linear(node_features, width, bias=bias)
        self.layers = nn.ModuleList(GINLayer(width, edge_features, bias=bias) for _ in range(num_layers))
        self.edge_features = edge_features
        self.head = nn.Linear(width * (num_layers + 1), num_outputs, bias=bias)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():  # sums over neighbours and nodes are several times as large as what they add up
            self.head.weight.mul_(0.1)
            for layer in self.layers:
                layer.second.weight.mul_(0.3)  # type: ignore[operator, union-attr]

    def forward(self, nodes: Tensor, edges: Tensor, ends: Tensor, padding: Tensor) -> Tensor:
        """Return outputs ``(B, num_outputs)`` of graphs in the form of :class:`Graphs`."""
        _check(nodes, edges, ends, padding, self.node.in_features, self.edge_features)
        # Which node is at an end, as numbers 0 and 1. Products with them add up in one order on every device, where
        # index_add does not on a GPU: F(αx) = αF(x) would hold up to rounding only. Rows of no edge are zero.
        at = torch.arange(nodes.shape[1], device=ends.device)
        one, other = ((ends[..., i, None] == at).to(nodes.dtype) for i in (0, 1))
        source, target = torch.cat([one, other], 1), torch.cat([other, one], 1)  # both ways along each edge
        states = self._states(
            nodes, torch.cat([edges, edges], 1), lambda h: source @ h, lambda messages: target.mT @ messages
        )
        nowhere = padding[..., None]
        outputs: Tensor = self.head(torch.cat([torch.where(nowhere, 0.0, h).sum(1) for h in states], 1))
        return outputs

    def of_lists(self, nodes: Tensor, edges: Tensor, edge_index: Tensor, graph: Tensor) -> Tensor:
        """Return outputs ``(G, num_outputs)`` of graphs in the lists that PyTorch Geometric keeps.

        Args:
            nodes: Features of all nodes, ``(N, d)`` (its ``x``).
            edges: Features of directed edges, ``(M, c)`` (its ``edge_attr``).
            edge_index: From where to where they go, ``(2, M)``.
            graph: To which graph each node belongs, ``(N,)``, from 0 to G − 1 (its ``batch``).
        """
        total = int(graph.max()) + 1 if len(graph) else 0
        source, target = edge_index
        states = self._states(nodes, edges, lambda h: h[source], lambda messages: _sums(messages, target, len(nodes)))
        outputs: Tensor = self.head(torch.cat([_sums(h, graph, total) for h in states], 1))
        return outputs

    def _states(self, nodes: Tensor, edges: Tensor, starts: Move, sums: Move) -> list[Tensor]:
        states = [self.node(nodes)]
        for layer in self.layers:
            states.append(layer(states[-1], edges, starts, sums))
        return states


def xgin(
    node_features: int = NODE_FEATURES,
    edge_features: int = EDGE_FEATURES,
    *,
    width: int = 64,
    num_layers: int = 3,
    num_outputs: int = 1,
    pretrained: bool = False,
) -> GIN:
    """Return a message-passing network with F(αx, αe) = αF(x, e), for α ≥ 0, in features of nodes x and edges e.

    Args:
        node_features: Numbers of a node.
        edge_features: Numbers of an edge.
        width: Of the states of nodes.
        num_layers: Rounds of messages.
        num_outputs: Numbers in the output.
        pretrained: Whether to return it with the shipped weights (sizes as given by default), in evaluation mode: log P
            of molecules, learnt from Crippen's totals; else with random ones.

    Returns:
        A network from :class:`Graphs`, ``model(*graphs)``, to ``(B, num_outputs)``. With sums over nodes in place of
        means, two copies of a graph have twice the output.

    Raises:
        OptionError: For sizes that make no sense.
        CheckpointError: If ``pretrained`` and sizes are not those of the shipped weights.

    Source: Xu et al. 2019 and Hu et al. 2020 (see :class:`GIN`), without biases.

    Example:
        >>> model = xgin(5, 2).eval()
        >>> graphs = padded_graphs(x, edge_attr, edge_index, batch)  # from PyTorch Geometric
        >>> nodes, edges = XGradient(model).attribute(graphs.inputs, additional_forward_args=graphs.structure)
    """
    sizes = (node_features, edge_features, width, num_layers, num_outputs)
    return _gin("xgin", sizes, pretrained, bias=False)


def gin(
    node_features: int = NODE_FEATURES,
    edge_features: int = EDGE_FEATURES,
    *,
    width: int = 64,
    num_layers: int = 3,
    num_outputs: int = 1,
    pretrained: bool = False,
) -> GIN:
    """Return the regular twin of :func:`xgin`, with biases; same arguments. Source: as there."""
    sizes = (node_features, edge_features, width, num_layers, num_outputs)
    return _gin("gin", sizes, pretrained, bias=True)


def padded_graphs(nodes: Tensor, edges: Tensor, edge_index: Tensor, graph: Tensor) -> Graphs:
    """Return graphs as the networks here take them, from the lists that PyTorch Geometric keeps.

    Args:
        nodes: Features of all nodes, ``(N, d)`` (its ``x``).
        edges: Features of directed edges, ``(M, c)`` (its ``edge_attr``): each edge there and back, with the same
            features.
        edge_index: From where to where they go, ``(2, M)``.
        graph: To which graph each node belongs, ``(N,)``, ascending (its ``batch``).

    Raises:
        InputError: If an edge has no way back with the same features, or nodes are not ordered by graph.
    """
    where = "padded_graphs"
    given = {"nodes": nodes, "edges": edges, "edge_index": edge_index, "graph": graph}
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise OptionTypeError(f"{where}: `{name}` must be a tensor but is {type(value).__name__}.")
    if len(graph) == 0 or bool((graph.diff() < 0).any()) or len(graph) != len(nodes):
        raise InputError(f"{where}: `graph` must say for each of the nodes to which graph it belongs, in order.")
    sizes = torch.bincount(graph)
    place = torch.arange(len(graph), device=graph.device) - (sizes.cumsum(0) - sizes)[graph]
    source, target = edge_index
    there, back = source <= target, source >= target
    order = [torch.argsort(a[m] * len(nodes) + b[m], stable=True) for a, b, m in
             ((source, target, there), (target, source, back))]  # fmt: skip
    ways = [torch.stack(pair, 1)[m][o] for pair, m, o in
            (((source, target), there, order[0]), ((target, source), back, order[1]))]  # fmt: skip
    kept, returned = edges[there][order[0]], edges[back][order[1]]
    if ways[0].shape != ways[1].shape or not torch.equal(ways[0], ways[1]) or not torch.equal(kept, returned):
        raise InputError(
            f"{where}: each edge must be in `edge_index` there and back, with the same features: edges are undirected "
            "here. Directed graphs go into `of_lists` of the network."
        )
    ends, of = place[ways[0]], graph[ways[0][:, 0]]
    many = torch.bincount(of, minlength=len(sizes))
    turn = torch.argsort(of, stable=True)
    ends, of, kept = ends[turn], of[turn], kept[turn]
    slot = torch.arange(len(of), device=of.device) - (many.cumsum(0) - many)[of]
    longest = max(1, int(many.max())) if len(of) else 1  # a place for one even without edges: inputs cannot be empty
    found = Graphs(
        nodes.new_zeros(len(sizes), int(sizes.max()), nodes.shape[1]),
        edges.new_zeros(len(sizes), longest, edges.shape[1]),
        ends.new_full((len(sizes), longest, 2), -1),
        torch.arange(int(sizes.max()), device=graph.device) >= sizes[:, None],
    )
    found.nodes[graph, place] = nodes
    found.edges[of, slot], found.ends[of, slot] = kept, ends
    return found


def _sums(rows: Tensor, group: Tensor, count: int) -> Tensor:
    return rows.new_zeros(count, rows.shape[1]).index_add(0, group, rows)


def _gin(where: str, sizes: tuple[object, ...], pretrained: object, *, bias: bool) -> GIN:
    names = ("node_features", "edge_features", "width", "num_layers", "num_outputs")
    nodes, edges, width, layers, outputs = (
        positive_integer(size, name, where) for size, name in zip(sizes, names, strict=True)
    )
    model = GIN(nodes, edges, width=width, num_layers=layers, num_outputs=outputs, bias=bias)
    if switch(pretrained, "pretrained", where):
        load_small(model, where)
    return model


def _check(nodes: Tensor, edges: Tensor, ends: Tensor, padding: Tensor, d: int, c: int) -> None:
    """Raise unless shapes are those of padded graphs."""
    b, a, e = nodes.shape[0], nodes.shape[1] if nodes.dim() > 1 else 0, edges.shape[1] if edges.dim() > 1 else 0
    wanted = ((b, a, d), (b, e, c), (b, e, 2), (b, a))
    shapes = tuple(tuple(each.shape) for each in (nodes, edges, ends, padding))
    if shapes != wanted:
        raise InputError(
            f"GIN: graphs must be padded tensors `nodes` (B, A, {d}), `edges` (B, E, {c}), `ends` (B, E, 2) and "
            f"`padding` (B, A), but are of shapes {', '.join(map(str, shapes))}. Lists of nodes and edges, as PyTorch "
            "Geometric has them, go through `padded_graphs` first, or into `of_lists`."
        )
    if ends.dtype not in (torch.int32, torch.int64) or padding.dtype != torch.bool:
        raise InputError(
            f"GIN: `ends` must hold integers and `padding` booleans, but they are {ends.dtype} and {padding.dtype}."
        )
