"""Autograd's graph: where a tensor comes from, through which custom functions, and which paths a gradient can take.

A *gradient path* does not lead through functions whose derivative is zero everywhere. What counts is the graph and
never whether a gradient happens to be 0: x·0 and an inactive ReLU have paths. Rounding, signs, comparisons in place,
random numbers and L⁰ norms have a node in the graph, too, but PyTorch's derivative of them is the constant zero, at
every input. Nodes are told by their names, which is all that PyTorch gives; its own end in a number, others do not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterable, Iterator

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

_SAVING = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", lambda _: None)
_PRESERVING = ("torch.utils.checkpoint", "torch.autograd.graph")
_FLAT = frozenset(
    [
        *("Sign", "Round", "Floor", "Ceil", "Trunc"),
        *("Eq", "Ne", "Ge", "Gt", "Le", "Lt"),  # in place; others have no node at all
        *("Bernoulli", "Poisson", "Normal", "Uniform", "Random", "Exponential", "Geometric", "Cauchy", "LogNormal"),
        "Zero",
    ]
)
"""Functions that are flat in all their arguments, by the names of their nodes."""
_OVERWRITING = frozenset(["Fill", "Copy"])
"""Functions of which the first argument is overwritten, so that only what is written has a derivative."""
_COUNTING = {
    "LinalgVectorNorm": "_saved_ord",
    **dict.fromkeys(["Norm", "Dist", "Cdist", "Pdist"], "_saved_p"),
}
"""Norms, and where their order is kept: that of order 0 counts what is not 0."""
_FLAT_OF_REAL = frozenset(["Sgn", "Angle"])
"""Functions that have a derivative for complex arguments alone."""
_FLAT_IN_PART = frozenset([*_FLAT, *_OVERWRITING, *_COUNTING, *_FLAT_OF_REAL, "Div", "Pow", "Copysign"])


def saved_tensors_are_changed() -> bool:
    """Return whether hooks are in force that autograd passes saved tensors through, other than PyTorch's own."""
    hooks = _SAVING(False)
    return hooks is not None and any(getattr(hook, "__module__", "") not in _PRESERVING for hook in hooks)


def reaches(tensor: Tensor, starts: Collection[Node | None]) -> bool:
    """Return whether the recorded graph leads from a tensor back to one of the nodes that it starts from."""
    return any(node in starts for node in ancestors([tensor.grad_fn]))


def custom_functions(outputs: Iterable[Tensor], starts: Collection[Node | None]) -> list[type]:
    """Return the classes of Python autograd functions on paths from the inputs to the outputs, each once.

    Args:
        outputs: Tensors with their graph.
        starts: The nodes of the inputs.
    """
    order = list(ancestors([y.grad_fn for y in outputs]))
    # A node is on a path if one of its ancestors is an input; ancestors come after it in depth-first order, not
    # necessarily next to it, so the marks are passed on until nothing changes.
    users: dict[Node, list[Node]] = {}
    for node in order:
        for parent, _ in node.next_functions:
            if parent is not None:
                users.setdefault(parent, []).append(node)
    on_path: set[Node] = set()
    stack = [node for node in order if node in starts]
    while stack:
        node = stack.pop()
        if node not in on_path:
            on_path.add(node)
            stack += users.get(node, [])
    found = {type(node): None for node in order if node in on_path and isinstance(node, BackwardCFunction)}
    return [getattr(kind, "_forward_cls", kind) for kind in found]


def ancestors(nodes: Iterable[Node | None]) -> Iterator[Node]:
    """Yield the nodes of the graphs that lead to these, and themselves, depth first and each once."""
    return _each_once(nodes, lambda node: (parent for parent, _ in node.next_functions))


def gradient_ancestors(tensors: Iterable[Tensor], until: Collection[Node] = ()) -> Iterator[Node]:
    """Yield the nodes that a gradient of the tensors comes to, depth first and each once, not beyond some of them."""
    return _each_once((t.grad_fn for t in tensors), lambda node: () if node in until else _sources(node))


def _each_once(starts: Iterable[Node | None], onward: Callable[[Node], Iterable[Node | None]]) -> Iterator[Node]:
    seen: set[Node] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        stack += onward(node)


def own_nodes(tensor: Tensor) -> list[Node]:
    """Return the nodes that stand for a tensor in what is computed from it later on, in place too."""
    # A view that is worked on in place gets another node, and what it was made from stays where it was.
    base = tensor._base if tensor._is_view() else None
    return [t.grad_fn for t in (tensor, base) if t is not None and t.grad_fn is not None]


def without_derivative(node: Node) -> bool:
    """Return whether a backward pass that comes to this node fails, as PyTorch has no derivative there."""
    return node.name().rpartition("::")[2] == "NotImplemented"


def _sources(node: Node) -> list[Node]:
    name = _function(node.name())
    edges = [source for source, _ in node.next_functions]
    if name not in _FLAT_IN_PART:
        return [source for source in edges if source is not None]
    if name in _FLAT or (name in _FLAT_OF_REAL and not _of_complex(node)):
        return []
    if (
        node.name() == "PowBackward0" and getattr(node, "_saved_exponent", None) == 0
    ):  # others have exponents in tensors
        return []
    if name == "Div" and getattr(node, "_saved_rounding_mode", None) is not None:
        return []
    if name in _COUNTING and getattr(node, _COUNTING[name], None) == 0:
        return []
    if name in _OVERWRITING:
        edges = edges[1:]
    if name == "Copysign":
        edges = edges[:1]
    return [source for source in edges if source is not None]


def _of_complex(node: Node) -> bool:
    """Return whether the first argument of a function was complex."""
    source, place = node.next_functions[0]
    return source is not None and source._input_metadata[place].dtype.is_complex


@functools.lru_cache(maxsize=1024)
def _function(name: str) -> str:
    """Return the function that a node of that name belongs to, if it is one of PyTorch's."""
    # With a number at the end, as its own have: a function of the user's may round and hand its gradient on.
    return re.sub(r"(Backward\d+|Backwards)$", "", name.rpartition("::")[2])
