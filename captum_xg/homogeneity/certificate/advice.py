"""Remedies that depend on where an operation stands: at the output, or within the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor
from torch.autograd.graph import Node

from captum_xg.homogeneity.degree import Reason
from captum_xg.homogeneity.rules.attention import SOFTMAX_REMEDY
from captum_xg.homogeneity.rules.piecewise import RECTIFIER
from captum_xg.homogeneity.rules.reasons import Located

_MOVES = frozenset(
    {
        *("View", "Reshape", "ReshapeAlias", "UnsafeView", "Squeeze", "Unsqueeze", "Select", "Slice", "Index"),
        *("IndexSelect", "Gather", "Transpose", "Permute", "T", "Clone", "Alias", "ToCopy", "Expand", "Narrow"),
        *("Diagonal", "Split", "Unbind", "Cat", "Stack", "Unflatten", "Flatten"),
    }
)
"""What autograd calls operations after which the output is still the same numbers."""

_AFFINE = frozenset({"Mul", "Div", "Neg", "Add", "Sub", "Rsub"})
_REDUCTIONS = frozenset({"Sum", "Mean", "Max", "Amax", "Prod"})
_OF_PROBABILITIES = frozenset(
    {
        *("Log", "Log1P", "Log2", "Log10", "Logit", "Exp", "Sqrt", "Pow"),
        *("Round", "Clamp", "ClampMin", "ClampMax", "NanToNum"),
    }
)
"""What is done with probabilities at the output, with and without need."""
_LOGITS = frozenset({"sigmoid", "hardsigmoid", "logsigmoid", "logsigmoidforward"})


def advised(reasons: Iterable[Reason], outputs: Iterable[Tensor]) -> list[Reason]:
    """Return the reasons with other remedies where a ReLU in the place of an output, or logits within, make no sense.

    Args:
        reasons: What speaks against a proof.
        outputs: The output with its graph.
    """
    last = Counter(name for y in outputs for name in _at_the_output(y.grad_fn))
    changed: list[Reason] = []
    by_operation: dict[str, list[Located]] = {}
    for reason in reasons:
        if isinstance(reason, Located) and reason.remedy in (RECTIFIER, SOFTMAX_REMEDY):
            by_operation.setdefault(_plain(reason.site.op), []).append(reason)
        else:
            changed.append(reason)
    for operation, found in by_operation.items():
        n = next((n for name, n in last.items() if operation.startswith(name)), 0)
        found.sort(key=lambda reason: reason.order)
        within, outermost = (found[:-n], found[-n:]) if n else (found, [])
        changed += [replace(reason, remedy=_WITHIN) if reason.remedy == SOFTMAX_REMEDY else reason for reason in within]
        what = "logit" if operation in _LOGITS else "value"
        changed += [
            reason
            if reason.remedy == SOFTMAX_REMEDY
            else replace(reason, remedy=f"Leave it out at the output, and explain the {what} before it")
            for reason in outermost
        ]
    return changed


_WITHIN = "Explain the logits instead; for a softmax within the network use HomogeneousExtension(model)"


def _at_the_output(node: Node | None) -> list[str]:
    """Return the names of what an output comes from, past what only moves, scales or adds up its numbers."""
    found: list[str] = []
    stack, seen = [node], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = type(node).__name__.rstrip("0123456789").removesuffix("Backward")
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if name in _MOVES or (name in _AFFINE | _REDUCTIONS | _OF_PROBABILITIES and len(parents) == 1):
            stack += parents
        else:
            found.append(name.lower())
    return found


def _plain(op: str) -> str:
    """Return ``aten._log_softmax.default`` as ``logsoftmax``, as autograd's names are in lower case."""
    return op.split(".")[1].replace("_", "") if op.count(".") else op
