"""What is integrated where the closed form does not apply, for ``on_violation="integrate"``, and how that is said.

There are three ways down, each taken where the one before it does not apply: x·∇F/k, if F is homogeneous and the path
begins at zero; integration to a tolerance (:mod:`captum_xg.attr.adaptive`), if F is one function that treats examples
separately; and Captum's own method with the caller's number of steps, for everything else that it takes.

What must never happen: a model is integrated, or left to a fixed number of steps, and nobody is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from captum_xg._core.function import ScalarFunction
from captum_xg._core.state import preserve_state
from captum_xg._core.types import Tensors
from captum_xg.attr.adaptive.adaptive_integrated_gradients import (
    MOST_EVALUATIONS,
    AdaptiveIntegratedGradients,
    points_at_once,
)
from captum_xg.attr.adaptive.report import IntegrationReport

if TYPE_CHECKING:
    from captum_xg._core.many_targets import ManyTargets

_FINER = 1e-4
"""What is come as near to as half of the caller's steps allow. Fixed steps are that near where kinks are few."""


class IntegrationNotice(UserWarning):
    """Attributions were integrated numerically, as the closed form does not apply; said once for each object."""


@dataclass(frozen=True)
class Integration:
    """How attributions came about that are not x·∇F/k.

    Attributes:
        reason: Why not: where, and what was found.
        reports: Of integration to a tolerance, one for each target; none if Captum has integrated.
        steps: The caller's number of steps and method, if Captum has integrated by them.
    """

    reason: str
    reports: tuple[IntegrationReport, ...] = ()
    steps: str = ""

    def notice(self) -> str:
        """Return why there was an integration, and what it took."""
        if not self.reports:
            return (
                f"{self.reason} So Captum's own method was used, by {self.steps} and without an estimate of the error. "
                "Said once for this object."
            )
        taken = torch.cat([report.evaluations for report in self.reports])
        least, most = int(taken.min()), int(taken.max())
        gradients = f"{least} gradients" if least == most else f"{least} to {most} gradients"
        return (
            f"{self.reason} So it was integrated, to a relative tolerance of {self.reports[0].rtol:g}, with "
            f"{gradients} for each example. Said once for this object; on_violation='raise' tells all that was found."
        )

    def unfinished(self, where: str) -> str | None:
        """Return what to say of examples whose tolerance was not met; None if it was met for all."""
        return next((said for report in self.reports if (said := report.warning(where, MOST_EVALUATIONS))), None)


@dataclass(frozen=True)
class Path:
    """A straight path, for one target or many.

    Attributes:
        function: F.
        start: Where it begins.
        end: Where it ends.
        at_once: The most points in one forward pass; None to choose.
        to_spend: How many gradients an example may take to come nearer than the tolerance.
        targets: The targets, if there are many.
    """

    function: ScalarFunction
    start: Tensors
    end: Tensors
    at_once: int | None = None
    to_spend: int = 0
    targets: ManyTargets | None = None

    def integrated(self, *, multiply_by_inputs: bool) -> tuple[Tensors, tuple[IntegrationReport, ...]]:
        """Return the attributions, ``(N, …)`` or ``(N, K, …)`` for K targets, and a report for each target.

        Raises:
            CaptumXGError: If F is no fixed function that treats examples separately, or has no gradient.
        """
        targets = self.targets
        if targets is not None:
            with preserve_state(self.function.forward_func, self.end[0].device), torch.enable_grad():
                count = targets.values(self.function, tuple(x.detach().clone() for x in self.end)).shape[1]
            each = [
                replace(self, function=targets.of(self.function, k), targets=None).integrated(
                    multiply_by_inputs=multiply_by_inputs
                )
                for k in range(count)
            ]
            columns = zip(*(attributions for attributions, _ in each), strict=True)
            return tuple(torch.stack(column, 1) for column in columns), tuple(r for _, own in each for r in own)
        method = AdaptiveIntegratedGradients(self.function.forward_func, multiply_by_inputs)
        most = points_at_once(len(self.end[0])) if self.at_once is None else self.at_once
        attributions, _, report = method._attributed(
            self.function, self.end, self.start, most, finer=_FINER, to_spend=self.to_spend
        )
        return attributions, (report,)


def is_zero(points: Tensors) -> bool:
    """Return whether all numbers are zero."""
    return not any(bool((x != 0).any()) for x in points)


def first_sentence(error: Exception) -> str:
    """Return the first line of an error, as a sentence."""
    line = str(error).partition("\n")[0].strip()
    return line if line.endswith((".", "!", "?")) else f"{line}."


NOT_ONE_DEGREE = math.nan
"""The degree of what was integrated: none is claimed."""
