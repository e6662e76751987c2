"""What autograd recorded: does a tensor come from the inputs, and through which functions that are not PyTorch's?"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

_SAVING = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", lambda _: None)
_PRESERVING = ("torch.utils.checkpoint", "torch.autograd.graph")


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


def ancestors(nodes: Iterable[Node | None]) -> Iterable[Node]:
    """Yield the nodes of the graphs that lead to these, and themselves, depth first and each once."""
    seen: set[Node] = set()
    stack = [node for node in nodes if node is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        stack += [parent for parent, _ in node.next_functions if parent is not None]
