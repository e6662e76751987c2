"""Proof by cases: how numbers scale where what a mask tests is positive, and where it is zero.

``torch.where(n > 0, n, 1)`` puts a constant beside what scales, so as a whole it does not scale. But no α > 0 changes
where ``n`` is positive, and in each case the choice scales: n, or the constant. :class:`Cases` say how, for each sign
that one or two *sources* can have; ``n`` is one here. They go along with operations that work element by element. Where
in all cases together a result does scale, it is proven::

    n = x.norm(dim=1, keepdim=True)      # never negative, and zero only where all of the row of x is
    x / torch.where(n > 0, n, 1)         # n > 0: degree 1 − 1 = 0.  n = 0: 0 / 1, zero.  Together: degree 0.

A mask that compares nothing with zero is a source of its own: true or false.

What must never happen: a case is taken for another. So each element has a witness, the element of the source that
decides about it, named by where it lies in memory; whatever meets at one place must have the same one. Masks count only
with all that speaks against them, and no rule looks at the numbers of a constant that stands in one case only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from captum_xg.homogeneity.certificate.masks import Sign
from captum_xg.homogeneity.certificate.value_graph import Node
from captum_xg.homogeneity.degree import ZERO, Reason, Scaling, sum_of

Signs: TypeAlias = tuple[Sign, ...]


@dataclass(frozen=True)
class Case:
    """How numbers scale in one case.

    Attributes:
        scaling: How they scale.
        nonzero: None of them is zero there; NaN is not.
        zero: All of them are zero there, whatever their scaling is in other cases.
    """

    scaling: Scaling
    nonzero: bool
    zero: bool = False

    @property
    def simplest(self) -> Scaling:
        """How they scale, as zero if they are zero."""
        return ZERO if self.zero else self.scaling


@dataclass(frozen=True)
class Cases:
    """How the numbers of a node scale, by the signs of what decides about them.

    Attributes:
        sources: The nodes that decide.
        witnesses: For each source, and each element of the storage: which of the source's elements decides about it.
        table: Signs of the sources → the case.
        reasons: What speaks against the masks.
    """

    sources: tuple[Node, ...]
    witnesses: tuple[Tensor, ...]
    table: Mapping[Signs, Case]
    reasons: frozenset[Reason]

    def joined(self) -> Scaling:
        """Return how the numbers scale in all cases together."""
        together = sum_of(*(case.simplest for case in self.table.values())).because(*self.reasons)
        # What is constant in each case depends on the case.
        return replace(together, degree=0.0, constant=False, stepwise=True) if together.constant else together

    @property
    def nonzero(self) -> bool:
        """Whether no number is zero in any case."""
        return all(case.nonzero for case in self.table.values())

    def on(self, node: Node) -> Cases:
        """Return the cases with witnesses for the elements of a node's storage, from those of the result's elements."""
        spread = []
        for witnesses in self.witnesses:
            whole = torch.full((node.elements,), -1)
            whole[node.places()] = witnesses
            spread.append(whole)
        return replace(self, witnesses=tuple(spread))
