"""What an exact integration found on every path: its pieces, the values of F at their ends, and how complete it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.text import Table, displayed
from captum_xg.attr.exact.verification import values_at_ends
from captum_xg.attr.exact.walk import Pieces
from captum_xg.errors import OptionError

_SHOWN = 20


@displayed
@dataclass(frozen=True, eq=False)
class Line:
    """F along the path of one example, which is linear between its breakpoints.

    Attributes:
        breakpoints: α of both ends and of all places in between where the gradient changes, float64, ascending.
        values: F there, float64.
    """

    breakpoints: Tensor
    values: Tensor


@displayed
@dataclass(frozen=True, eq=False)
class ExactReport:
    """Regions and completeness of each example's attributions; its ``str()`` is a table.

    Attributes:
        regions: How many linear pieces the path has, int64, shape ``(N,)``.
        completeness_gap: |Σ attributions − (F(x) − F(b))| in float64, relative to the sum of the absolute
            attributions of all pieces, by which it is rounded; shape ``(N,)``.
    """

    regions: Tensor
    completeness_gap: Tensor
    _lines: Sequence[Line] = field(repr=False)

    def line(self, example: int) -> Line:
        """Return F along the path of an example, for a plot.

        Raises:
            OptionError: If there is no such example.
        """
        if not -len(self._lines) <= example < len(self._lines):
            raise OptionError(f"ExactReport.line: `example` must be below {len(self._lines)} but is {example}.")
        return self._lines[example]

    def _parts(self) -> Iterator[str | Table]:
        n = len(self.regions)
        examples = f"{n} example{'s' * (n != 1)}"
        yield f"Integrated Gradients of {examples}, exact, from {int(self.regions.sum())} linear regions"
        rows = [("example", "regions", "completeness gap")]
        for i in torch.argsort(self.regions, descending=True, stable=True).tolist()[:_SHOWN]:
            rows.append((str(i), str(int(self.regions[i])), f"{float(self.completeness_gap[i]):.1e}"))
        yield Table(rows, left=0)
        if n > _SHOWN:
            yield f"and {n - _SHOWN} more with fewer regions"


def report_of(pieces: Pieces, deltas: Tensor) -> ExactReport:
    """Return the report of pieces and of what attributions sum to beyond the change of F, in float64."""
    regions, gaps, lines = [], [], []
    for i, delta in enumerate(deltas.tolist()):
        own = pieces.of(i)
        left, right = values_at_ends(own)
        ends = (np.concatenate([own.left, own.right[-1:]]), np.concatenate([left, right[-1:]]))
        lines.append(Line(*map(torch.from_numpy, ends)))
        regions.append(len(own.left))
        size = float((own.sizes * (own.right - own.left)).sum())
        gaps.append(abs(delta) / size if size else abs(delta))
    return ExactReport(torch.tensor(regions), torch.tensor(gaps, dtype=torch.float64), lines)
