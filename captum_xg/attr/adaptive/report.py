"""What an integration to a tolerance took and how exact it is, for every example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._core.text import Table, displayed, first_ten

MARGIN = 1.5
"""How many times the estimated error has to be within a tolerance. The estimate is of the size of the error, and no
bound: with this margin the error itself is within 1 % in 97 to 100 % of random examples, by kind of network."""
_SHOWN = 20


class IntegrationWarning(UserWarning):
    """The budget of gradients ended before the tolerance was met."""


@displayed
@dataclass(frozen=True, eq=False)
class IntegrationReport:
    """Cost and accuracy of each example's attributions; its ``str()`` is a table.

    Attributes:
        evaluations: How many gradients were evaluated, int64, shape ``(N,)``.
        estimated_error: Estimate of ‖error‖₂/‖attributions‖₂, float64, shape ``(N,)``.
        converged: Whether 1.5 times that is at most ``rtol``, shape ``(N,)``. As the estimate is of the size of the
            error and no bound, the error itself is then within ``rtol`` in some 99 % of examples at a tolerance of 1 %.
        rtol: The tolerance that was asked for.
    """

    evaluations: Tensor
    estimated_error: Tensor
    converged: Tensor
    rtol: float

    def _parts(self) -> Iterator[str | Table]:
        n, done = len(self.evaluations), int(self.converged.sum())
        yield (
            f"{done} of {n} examples within {self.rtol:g} of their Integrated Gradients, from "
            f"{int(self.evaluations.sum())} gradients"
        )
        rows = [("example", "gradients", "estimated error", "")]
        # The worst first, as they are what a long table is read for.
        for i in torch.argsort(self.estimated_error, descending=True, stable=True).tolist()[:_SHOWN]:
            said = "" if bool(self.converged[i]) else "not converged"
            rows.append((str(i), str(int(self.evaluations[i])), f"{float(self.estimated_error[i]):.2e}", said))
        yield Table(rows, left=0)
        if n > _SHOWN:
            yield f"and {n - _SHOWN} more with smaller errors"

    def warning(self, where: str, max_evaluations: int) -> str | None:
        """Return what to say of examples that are not within the tolerance; None if there are none."""
        left = (~self.converged).nonzero().flatten().tolist()
        if not left:
            return None
        worst = float(self.estimated_error[left].max())
        return (
            f"{where}: {len(left)} of {len(self.converged)} examples are not within rtol={self.rtol:g} after "
            f"max_evaluations={max_evaluations} gradients, with an estimated relative error of up to {worst:.2g}: "
            f"example {', '.join(first_ten([str(i) for i in left]))}. Raise max_evaluations or rtol."
        )
