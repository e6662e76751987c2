"""Masks by what they say: for which signs of which numbers they are true.

``n > 0``, ``n == 0``, ``~(n <= 0)`` and ``n.bool()`` all ask for the sign of ``n``, and say the same or the opposite
where ``n`` cannot be negative. A :class:`Mask` tells that apart from what a mask merely happens to be on the example.

Example: of ``(n == 0).logical_not()`` it says: decided by n, each element by the element of n at its place; false where
that is zero, true where it is negative, positive or NaN.

What must never happen: a mask is taken for a function of a sign that it is not. What compares with anything but zero
is a source of its own, of which nothing is known but that it is true or false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from captum_xg.homogeneity.certificate.value_graph import Node, Reading

Sign: TypeAlias = Literal["negative", "zero", "positive", "nan"]

_COMPARISONS: Mapping[str, frozenset[Sign]] = {
    "gt": frozenset({"positive"}),
    "ge": frozenset({"positive", "zero"}),
    "lt": frozenset({"negative"}),
    "le": frozenset({"negative", "zero"}),
    "eq": frozenset({"zero"}),
    "ne": frozenset({"negative", "positive", "nan"}),
}
"""The signs of n for which ``n > 0`` and the like are true."""
_TURNED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}
_BOTH: Mapping[str, Callable[[bool, bool], bool]] = {
    **dict.fromkeys(("logical_and", "bitwise_and", "__and__"), lambda a, b: a and b),
    **dict.fromkeys(("logical_or", "bitwise_or", "__or__"), lambda a, b: a or b),
}
_NOT = ("logical_not", "bitwise_not")
_SAME = ("clone", "contiguous", "_to_copy")
_MOST_SOURCES = 2


@dataclass(frozen=True)
class Mask:
    """What a mask says.

    Attributes:
        sources: The nodes that decide.
        witnesses: For each source, and each element of the storage: which of the source's elements decides about it.
        truth: Signs of the sources → whether it is true.
    """

    sources: tuple[Node, ...]
    witnesses: tuple[Tensor, ...]
    truth: Mapping[tuple[Sign, ...], bool]


def possible_signs(source: Node) -> list[Sign]:
    """Return the signs that numbers of a node can have."""
    signs: list[Sign] = ["positive", "zero"]
    if source.dtype == torch.bool:
        return signs
    if not source.nonnegative:
        signs.append("negative")
    return signs if source.finite else [*signs, "nan"]


def mask_of(node: Node, known: dict[Node, Mask]) -> Mask:
    """Return what the mask says that a node holds, and note it among the known ones."""
    if node not in known:
        known[node] = _derived(node, known) or _of_its_own(node)
    return known[node]


def _of_its_own(node: Node) -> Mask:
    return Mask((node,), (torch.arange(node.elements),), {("positive",): True, ("zero",): False})


def _derived(node: Node, known: dict[Node, Mask]) -> Mask | None:
    name, given = node.operation, node.arguments
    base, other = given.get("self"), given.get("other")
    if name in _COMPARISONS:
        if isinstance(base, Reading) and _is_zero(other):
            return _compared(node, base, _COMPARISONS[name])
        return (
            _compared(node, other, _COMPARISONS[_TURNED[name]])
            if isinstance(other, Reading) and _is_zero(base)
            else None
        )
    if name in (*_SAME, *_NOT) and isinstance(base, Reading):
        if base.node.dtype != torch.bool:
            signs = _COMPARISONS["ne" if name in _SAME else "eq"]
            return _compared(node, base, signs) if name != "bitwise_not" else None
        mask = mask_of(base.node, known)
        truth = {signs: says != (name in _NOT) for signs, says in mask.truth.items()}
        return Mask(mask.sources, _carried(node, base, mask), truth)
    if name in _BOTH and isinstance(base, Reading) and isinstance(other, Reading):
        return _both(node, (base, other), _BOTH[name], known)
    return None


def _compared(node: Node, tested: Reading, true_for: frozenset[Sign]) -> Mask:
    """Return the mask that is true for some signs of what a reading shows."""
    witnesses = _placed(node, tested.places())
    return Mask((tested.node,), (witnesses,), {(sign,): sign in true_for for sign in possible_signs(tested.node)})


def _both(
    node: Node, pair: tuple[Reading, Reading], combine: Callable[[bool, bool], bool], known: dict[Node, Mask]
) -> Mask | None:
    left, right = pair
    if not left.node.dtype == right.node.dtype == torch.bool:
        return None
    first, second = mask_of(left.node, known), mask_of(right.node, known)
    sources, witnesses = list(first.sources), list(_carried(node, left, first))
    for source, mine in zip(second.sources, _carried(node, right, second), strict=True):
        if source not in sources:
            sources.append(source)
            witnesses.append(mine)
        elif not torch.equal(witnesses[sources.index(source)], mine):
            return None
    if len(sources) > _MOST_SOURCES:
        return None

    def says(mask: Mask, signs: tuple[Sign, ...]) -> bool:
        return mask.truth[tuple(signs[sources.index(source)] for source in mask.sources)]

    truth = {
        signs: combine(says(first, signs), says(second, signs)) for signs in product(*map(possible_signs, sources))
    }
    return Mask(tuple(sources), tuple(witnesses), truth)


def _carried(node: Node, argument: Reading, mask: Mask) -> tuple[Tensor, ...]:
    """Return the witnesses of a mask among the arguments for the elements of a result."""
    return tuple(_placed(node, witnesses[argument.places()]) for witnesses in mask.witnesses)


def _placed(node: Node, witnesses: Tensor) -> Tensor:
    places = node.places()
    whole = torch.full((node.elements,), -1)
    whole[places] = witnesses.expand(places.shape)
    return whole


def _is_zero(value: object) -> bool:
    if isinstance(value, Reading):
        node = value.node
        number = node.arguments.get("fill_value", node.arguments.get("s", 1))
        filled = node.operation in ("full", "full_like", "scalar_tensor") and _is_zero(number)
        return filled or node.operation in ("zeros", "zeros_like", "new_zeros")
    return isinstance(value, (int, float)) and value == 0
