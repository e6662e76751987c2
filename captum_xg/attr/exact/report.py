"""What an exact integration found on every path: its pieces, the values of F at their ends, and how complete it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captum_xg._core.text import Table, displayed
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


@displayed
@dataclass(frozen=True, eq=False)
class StepsNeeded:
    """How many steps Captum's Integrated Gradients needs on each example; its ``str()`` is a table.

    Attributes:
        steps: The smallest number that was tried from which on the relative error ‖IG(n) − IG‖₂/‖IG‖₂ stays within
            ``rtol``, float64, shape ``(N,)``; infinity where no such number was tried.
        tried: The numbers of steps that were tried, int64, ascending.
        errors: The relative error for each of them, float64, shape ``(N, len(tried))``.
        rtol: The error that is allowed.
        method: The rule of integration.
    """

    steps: Tensor
    tried: Tensor
    errors: Tensor
    rtol: float
    method: str

    def _parts(self) -> Iterator[str | Table]:
        n = len(self.steps)
        yield f"Steps that Integrated Gradients ({self.method}) needs for a relative error of {self.rtol:g}"
        shown = [k for k in (10, 20, 50, 100, 300) if k in self.tried.tolist()]
        rows = [("example", "steps", *(f"error of {k}" for k in shown))]
        places = [self.tried.tolist().index(k) for k in shown]
        for i in torch.argsort(self.steps, descending=True, stable=True).tolist()[:_SHOWN]:
            steps = float(self.steps[i])
            said = f"{steps:.0f}" if steps != float("inf") else f"> {int(self.tried[-1])}"
            rows.append((str(i), said, *(f"{float(self.errors[i, k]):.1e}" for k in places)))
        yield Table(rows, left=0)
        if n > _SHOWN:
            yield f"and {n - _SHOWN} more with fewer steps"
