"""Masks of a batch: the order of features, how many are kept at each fraction, and hashes of equal masked inputs.

The invariant: at every fraction the features that are kept have consecutive ranks in one order, the most important
first, equal ones by position. So a mask is two numbers, ``[first, last)``, and the keys of all masks of an example come
from one cumulative sum. For attributions ``[3, -1, 2, 0]``, fractions ``(½, 1)`` and the sign "positive" the order is
0, 2, 1, 3 and the ranges are [0, 2) and [0, 2): there are two candidates.

What must never happen: that two masked inputs which differ get one key. It does with probability 2⁻⁶⁴ for a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Sign = Literal["positive", "negative", "absolute"]
Protocol = Literal["paper", "released"]


@dataclass(frozen=True)
class KeptRanges:
    """The masks of a batch: at point p, example i keeps the features whose rank lies in [first, last).

    Attributes:
        order: Features by importance, the most important first, ``(N, n)``; equal ones by position.
        first: The first rank that is kept, ``(N, P)``.
        last: The first rank behind it that is not, ``(N, P)``.
    """

    order: Tensor
    first: Tensor
    last: Tensor

    def ranks(self) -> Tensor:
        """Return the rank of each feature, ``(N, n)``."""
        places = torch.arange(self.order.shape[1], device=self.order.device).expand_as(self.order)
        return torch.empty_like(self.order).scatter_(1, self.order, places)

    def keys(self, matters: Tensor) -> Tensor:
        """Return a number for each masked input, ``(N, P)``: equal for equal inputs of one example, and only then.

        Zobrist hashing, with a sum in the place of the exclusive or: the key of a mask is the sum, modulo 2⁶⁴, of a
        fixed random number for every kept feature that would change if it were masked.

        Args:
            matters: Which features change when they are masked, ``(N, n)``.
        """
        n_examples, n = self.order.shape
        numbers = _numbers(n).to(self.order.device).expand(n_examples, n).masked_fill(~matters, 0)
        # Overflow wraps around, and differences with it: integers modulo 2⁶⁴ are exact.
        sums = torch.zeros(n_examples, n + 1, dtype=torch.int64, device=self.order.device)
        torch.cumsum(numbers.gather(1, self.order), dim=1, out=sums[:, 1:])
        return sums.gather(1, self.last) - sums.gather(1, self.first)


def kept_ranges(attributions: Tensor, fractions: tuple[float, ...], sign: Sign, *, remove: bool) -> KeptRanges:
    """Return what is kept at each fraction f of n features.

    Candidates are the features with a positive, negative, or nonzero attribution. *Keep* keeps the
    int(min(f·n, candidates)) most important of them, *remove* as many of the least important. No feature that is no
    candidate is ever kept.

    Args:
        attributions: One per feature, ``(N, n)``.
        fractions: In [0, 1].
        sign: Which attributions count, and which way.
        remove: Whether the most important features are masked first, else they are kept longest.
    """
    if sign == "absolute":
        importance = attributions.abs()
    else:
        importance = (attributions if sign == "positive" else -attributions).clamp_min(0)
    # Stable, so that ties are broken by position on every device and in every batch.
    order = importance.argsort(dim=1, descending=True, stable=True)
    n = attributions.shape[1]
    candidates = torch.count_nonzero(importance, dim=1)[:, None]
    asked = torch.tensor([int(f * n) for f in fractions], device=order.device).expand(len(order), -1)
    number = torch.minimum(asked, candidates)
    last = candidates.expand_as(number) if remove else number
    return KeptRanges(order, last - number, last)


@lru_cache(maxsize=8)
def _numbers(n: int) -> Tensor:
    """Return n fixed random integers."""
    generator = torch.Generator().manual_seed(0x5EED)
    with torch.inference_mode(False):  # an inference tensor could not be used outside of it later
        return torch.randint(-(2**63), 2**63 - 1, (n,), generator=generator, dtype=torch.int64)
