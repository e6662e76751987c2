"""Numbers of each example: its sum, its concentration, its shares in regions and on tokens; who is highest in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.options import one_of, positive_integer
from captum_xg._core.text import Table, displayed
from captum_xg.analysis.pooling import lengthened

if TYPE_CHECKING:
    from captum_xg.analysis.reading import Part

SUM, ABSOLUTE, GINI = "sum", "absolute sum", "gini"


@displayed
@dataclass(frozen=True)
class Scores:
    r"""Numbers of each example, float64.

    * ``"sum"``: Σ A, in units of the output; ``"absolute sum"``: Σ \|A\|.
    * ``"gini"``: the Gini coefficient of \|A\| over all features, 0 where all are equal and 1 − 1/n where one of n has
      everything; see :class:`~captum_xg.GiniSparsity`. What pads a text is no feature of it.
    * ``"share of NAME"``: Σ of \|A\| in a region or on tokens, divided by Σ \|A\|.

    Where an example has no attribution at all, Gini coefficient and shares are NaN and count nowhere.

    Attributes:
        ids: Positions of the N examples in the data set.
        values: Name → ``(N,)``.
        names: Of classes.
        groups: For each example the place of its class in ``names``; −1 if it is not known.
    """

    ids: Tensor
    values: Mapping[str, Tensor]
    names: tuple[str, ...]
    groups: Tensor = field(repr=False)

    def highest(self, score: str, most: int = 10, *, group: str | None = None) -> list[tuple[int, float]]:
        """Return id and value of the examples with the highest values, the highest first.

        Args:
            score: One of ``values``.
            most: At most so many.
            group: The name of a class, to look among its examples only.

        Raises:
            OptionError: If there is no such score or class.
        """
        return self._ordered(score, most, group, descending=True)

    def lowest(self, score: str, most: int = 10, *, group: str | None = None) -> list[tuple[int, float]]:
        """Return id and value of the examples with the lowest values; see :meth:`highest`."""
        return self._ordered(score, most, group, descending=False)

    def _ordered(self, score: str, most: int, group: str | None, *, descending: bool) -> list[tuple[int, float]]:
        where = "Scores.highest" if descending else "Scores.lowest"
        values = self.values[one_of(score, tuple(self.values), "score", where)]
        chosen = ~values.isnan()
        if group is not None:
            chosen &= self.groups == self.names.index(one_of(group, self.names, "group", where))
        places = chosen.nonzero().flatten()
        order = values[places].sort(descending=descending, stable=True).indices[: positive_integer(most, "most", where)]
        return [(int(self.ids[i]), float(values[i])) for i in places[order]]

    def _parts(self) -> list[str | Table]:
        rows: list[tuple[str, ...]] = [("", "mean", "lowest", "median", "highest", "highest in examples")]
        for name, column in self.values.items():
            known = column[~column.isnan()]
            if len(known) == 0:
                rows.append((name, *["—"] * 5))
                continue
            numbers = (known.mean(), known.min(), known.median(), known.max())
            top = ", ".join(str(example) for example, _ in self.highest(name, 5))
            rows.append((name, *(f"{float(number):.4g}" for number in numbers), top))
        return [f"Scores of {len(self.ids):,} examples", Table(rows)]


@dataclass
class ScoreColumns:
    """Scores of all examples, filled part by part.

    Attributes:
        examples: How many there are.
        regions: Name → mask ``S`` of numbers from 0 to 1.
        tokens: Name → numbers of tokens.
    """

    examples: int
    regions: Mapping[str, Tensor]
    tokens: Mapping[str, Tensor]
    values: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        names = (SUM, ABSOLUTE, GINI, *(f"share of {name}" for name in (*self.regions, *self.tokens)))
        self.values = {name: torch.empty(self.examples, dtype=torch.float64) for name in names}

    def add(self, part: Part) -> None:
        """Add some examples."""
        shares = part.shares()
        empty = part.total == 0
        numbers = part.numbers.flatten(1) if part.numbers.dim() > 1 else part.numbers[:, None]
        features = torch.full((len(numbers),), numbers.shape[1])
        if part.tokens is not None and part.numbers.shape[1] == part.tokens.shape[1]:  # padding is no part of a text
            features = (part.tokens >= 0).sum(1) * (numbers.shape[1] // part.tokens.shape[1])
        self._set(part, SUM, numbers.sum(1))
        self._set(part, ABSOLUTE, part.total)
        self._set(part, GINI, _gini(numbers.abs(), features).masked_fill(empty, torch.nan))
        for name, mask in self.regions.items():
            # Texts may have another length in each part.
            own = mask if part.tokens is None else lengthened(mask[None], shares.shape[1])[0][: shares.shape[1]]
            inside = (shares * own).flatten(1).sum(1)
            self._set(part, f"share of {name}", inside.masked_fill(empty, torch.nan))
        for name, listed in self.tokens.items():
            assert part.tokens is not None
            inside = (shares * torch.isin(part.tokens, listed)).sum(1)
            self._set(part, f"share of {name}", inside.masked_fill(empty, torch.nan))

    def _set(self, part: Part, name: str, values: Tensor) -> None:
        self.values[name][part.rows] = values


def _gini(values: Tensor, features: Tensor) -> Tensor:
    """Return the Gini coefficients of rows of numbers ≥ 0, ``(n, F)``; NaN for rows of zeros.

    Of a row only so many numbers count as ``features`` ``(n,)`` says; the others are zero.

    As :func:`captum_xg.priors.gini.gini`, whose ranks of equal numbers matter to its gradient only: here they need not
    be found, and NumPy sorts several times faster.
    """
    ordered = torch.from_numpy(np.sort(values.numpy(), axis=1))  # of a copy of our own
    n = features.double()[:, None]
    weights = (
        torch.arange(1 - values.shape[1], values.shape[1], 2) - values.shape[1] + n
    ) / n  # 2i − n − 1 from the end
    return (ordered * weights).sum(1) / ordered.sum(1)
