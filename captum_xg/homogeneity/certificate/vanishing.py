"""Numbers that are zero because another one is: all of ``x[i]`` where ``n[i]``, its norm, is zero.

It is asked for where a mask guards a division by ``n``: ``x / torch.where(n > 0, n, 1)`` is then 0 / 1 where
the mask is false. Looked up backwards in the value graph, from ``n`` through powers, absolute values, sums and
maxima of what is never negative to ``x``; and from there forwards to what is zero with ``x``.

What must never happen: a number is taken for zero that is not. So of sums, terms of both signs are no evidence; every
element has its own witness, and broadcasting over other dimensions pairs it with another one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from captum_xg.homogeneity.certificate.value_facts import (
    SAME_VALUES,
    are_dot_products,
    is_positive,
    nonnegative,
    same_reading,
)
from captum_xg.homogeneity.certificate.value_graph import UNKNOWN, Node, Reading

_ZERO_ONLY_AT_ZERO = ("abs", "neg", "square", "sqrt", "sgn", "sign", "tanh", "atan", "sinh", "asinh", *SAME_VALUES)
"""f(u) = 0 where u = 0, and nowhere else."""
_ZERO_AT_ZERO = (*_ZERO_ONLY_AT_ZERO, "relu", "leaky_relu", "sin", "tan", "floor", "round", "erf", "expm1")
_DEEPEST = 50
"""So many operations lie between a number and what makes it zero, at most."""
_MOST_WAYS = 4
_REDUCTIONS = ("sum", "mean", "amax", "max", "linalg_vector_norm", "norm")


class Vanishing:
    """Says which numbers are zero because a certain one is."""

    def __init__(self) -> None:
        self._implied: dict[Node, dict[Node, Tensor]] = {}
        self._found: dict[tuple[Node, Node], list[Tensor]] = {}
        self._depth = 0

    def because_of(self, source: Node, value: Reading) -> list[Tensor]:
        """Return, as often as there are ways, for each element which of a source's being zero makes it zero.

        Elements of the source are named by where they lie in its storage; −1 stands for none.
        """
        return [witnesses[value.places()] for witnesses in self._of(value.node, source)]

    def _of(self, node: Node, source: Node) -> list[Tensor]:
        if (node, source) not in self._found:
            if self._depth >= _DEEPEST:
                return []
            self._depth += 1
            try:
                self._found[node, source] = self._looked_up(node, source)
            finally:
                self._depth -= 1
        return self._found[node, source]

    def _looked_up(self, node: Node, source: Node) -> list[Tensor]:
        if source not in self._implied:
            self._implied[source] = self._implied_by(source)
        implied, here = self._implied[source].get(node), node.places()
        ways = [] if implied is None else [implied]
        for witnesses in self._inherited(node, source)[: _MOST_WAYS - len(ways)]:
            if bool((witnesses >= 0).any()):
                whole = torch.full((node.elements,), -1)
                whole[here] = witnesses.expand(here.shape)
                ways.append(whole)
        return ways

    def _inherited(self, node: Node, source: Node) -> list[Tensor]:
        """Return which elements of the source make elements of a result zero because they make arguments zero."""
        name, given = node.operation, node.arguments

        def of(argument: str) -> list[Tensor]:
            value = given.get(argument)
            return self.because_of(source, value) if isinstance(value, Reading) else []

        ways: list[Tensor] = []
        if name in _ZERO_AT_ZERO or (name == "pow" and is_positive(given["exponent"])):
            ways = of("self")
        elif name == "mul":
            ways = of("self") + of("other")
        elif name == "div" and given.get("rounding_mode") is None:
            ways = of("self")
        elif name in ("add", "sub", "maximum", "minimum"):
            ways = [torch.where(left == right, left, -1) for left in of("self") for right in of("other")]
        elif name == "cumsum":
            ways = [unanimous(each, {**given, "keepdim": True}).expand(each.shape) for each in of("self")]
        elif name in ("sum", "mean"):
            ways = [unanimous(each, given) for each in of("self")]
        elif name in ("mm", "bmm"):  # a row of zeros gives a row of zeros
            ways = [unanimous(each, {"dim": [-1], "keepdim": True}) for each in of("self")]
            ways += [unanimous(each, {"dim": [-2], "keepdim": True}) for each in of("mat2")]
        return ways

    def _implied_by(self, source: Node) -> dict[Node, Tensor]:
        """Return for each node which of the source's elements is zero only where that node's element is."""
        implied = {source: torch.arange(source.elements)}
        rest = [source]
        while rest:
            node = rest.pop()
            if node.operation == UNKNOWN:
                continue
            lifted = implied[node][node.places()]
            for argument in self._zero_with(node):
                spread = _spread(lifted, node, argument)
                if spread is None:
                    continue
                found = implied.setdefault(argument.node, torch.full((argument.node.elements,), -1))
                before = found.clone()
                found[argument.places()] = torch.where(spread >= 0, spread, found[argument.places()])
                if not torch.equal(before, found):
                    rest.append(argument.node)
        return implied

    def _zero_with(self, node: Node) -> Iterable[Reading]:
        """Return the arguments of which each is zero where the result is."""
        given, base, other = node.arguments, node.arguments.get("self"), node.arguments.get("other")
        exact = node.dtype.is_floating_point or node.dtype.is_complex  # conversions to whole numbers are not
        factor = isinstance(other, (int, float)) and math.isfinite(other) and other != 0
        faithful: list[object] = []
        match node.operation:
            case name if name in _ZERO_ONLY_AT_ZERO:
                faithful = [base] if exact else []
            case "pow" if is_positive(given["exponent"]):
                faithful = [base]
            case "mul" if same_reading(base, other) or factor:
                faithful = [base]
            case "div" if factor and given.get("rounding_mode") is None:
                faithful = [base]
            case "linalg_vector_norm" | "norm" if is_positive(given.get("ord", given.get("p"))):
                faithful = [base]
            case "sum" | "mean" | "amax" | "max" if nonnegative(base) and exact:
                faithful = [base]
            case "hypot":
                faithful = [base, other]
            case "add" if nonnegative([base, other]) and exact and given["alpha"] == 1:
                faithful = [base, other]
            case "maximum" if nonnegative([base, other]):
                faithful = [base, other]
            case "dot" if same_reading(base, given["tensor"]):
                faithful = [base]
            case "bmm" if are_dot_products(given):
                faithful = [base]
        return [value for value in faithful if isinstance(value, Reading)]


def _spread(values: Tensor, node: Node, argument: Reading) -> Tensor | None:
    """Return what is known of each element of a result for the elements of the argument that it was made of."""
    shape = torch.Size(argument.layout.size)
    if node.operation == "bmm":
        return values.expand(shape) if values.dim() == 3 else None
    if node.operation == "dot":
        return values.expand(shape)
    if node.operation in _REDUCTIONS:
        dims, given = _dimensions(node.arguments, len(shape)), node.arguments
        if not given.get("keepdim", False) and values.dim() < len(shape):
            for dim in sorted(dims):
                values = values.unsqueeze(dim)
        return values.expand(shape) if values.dim() == len(shape) else None
    return values if values.shape == shape else None


def unanimous(values: Tensor, given: Mapping[str, object]) -> Tensor:
    """Return what all elements along the reduced dimensions agree on, -1 if they do not."""
    if values.dim() == 0 or values.numel() == 0:
        return torch.tensor(-1)
    dims = _dimensions(given, values.dim())
    keepdim = bool(given.get("keepdim", False))
    low, high = values.amin(dims, keepdim), values.amax(dims, keepdim)
    return torch.where(low == high, low, -1)


def _dimensions(given: Mapping[str, object], n: int) -> list[int]:
    dim = given.get("dim")
    if dim is None or dim == []:
        return list(range(n))
    return [d % n for d in ([dim] if isinstance(dim, int) else dim)] if n else []  # type: ignore[attr-defined]
