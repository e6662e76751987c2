"""The degree as the numeric check measures it: F(αx) = αᵏF(x) on every example of every call, and Euler's identity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.state import preserve_state
from captum_xg.attr.refusal import refusal_message
from captum_xg.attr.trusted import Evaluate, Trusted
from captum_xg.errors import DegreeError
from captum_xg.homogeneity.check.euler import precision_of
from captum_xg.homogeneity.check.numeric import verify_homogeneity
from captum_xg.homogeneity.check.one_function import require_separate
from captum_xg.homogeneity.check.report import HomogeneityError, HomogeneityReport


@dataclass
class Reports:
    """The reports of the numeric check on the parts of one call, each judged as it comes.

    Attributes:
        validation: The validation of the call.
        reports: Those that have decided so far.
    """

    validation: Trusted
    reports: list[HomogeneityReport] = field(default_factory=list)

    def measured(
        self, function: ScalarFunction, evaluation: Evaluation, degree: float | None, *, separate: bool
    ) -> HomogeneityReport:
        """Return the numeric check's report on one part, with examples counted in the whole batch.

        Args:
            function: F.
            evaluation: F(x) and ∇F(x).
            degree: k; None to find it.
            separate: Whether it is known that F treats examples separately; else that is seen to.
        """
        own = verify_homogeneity(function, evaluation, degree=degree, rtol=self.validation.rtol)
        if not separate and not own.violated:
            require_separate(function, evaluation, precision_of(evaluation, self.validation.rtol, own.dtypes))
        return own.shifted(function.first)

    def degree_of(self, report: HomogeneityReport) -> float:
        """Return the degree that a report decides, if it shows what the caller wants, and remember it.

        Raises:
            DegreeError: If there is no degree k ≥ 1 to be found.
            HomogeneityError: If F does not have the degree, and that is an error.
        """
        self.reports.append(report)
        asked, where, k = self.validation.degree, self.validation.where, report.tested_degree
        # Not a violation that may be waived: without a degree there is nothing to divide by.
        if not report.homogeneous and asked is None and (k is None or k < 1):
            reason = " ".join(report.notes) or "F(αx)/F(x) is no single power of α."
            raise DegreeError(f"{where}: degree='auto' found no degree k ≥ 1. {reason}\n{report}")
        if not report.homogeneous and self.validation.raises:
            raise HomogeneityError(refusal_message(report, where), report, report.certificate)
        # No degree is left only where F and all attributions are zero, whatever it is.
        return k or 1.0

    def conclusion(self) -> str | None:
        """Return what to say of the worst violation.

        Raises:
            DegreeError: If a degree that was to be found is not the same in all parts.
        """
        # Each part has estimated its own. That they differ shows only here, when all have been seen.
        found = sorted({report.tested_degree for report in self.reports if report.tested_degree is not None})
        if self.validation.degree is None and found and found[-1] - found[0] > 1e-4 * found[-1]:
            raise DegreeError(
                f"{self.validation.where}: degree='auto' found different degrees in different parts of the batch: "
                f"{found}. One forward function has one degree; explain the parts separately with `degree` given."
            )
        violated = [report for report in self.reports if not report.homogeneous]
        if not violated:
            return None
        return refusal_message(max(violated, key=lambda r: r.max_deviation), self.validation.where)


class Measured(Trusted):
    """F(αx) = αᵏF(x) on every example, at one scale on each side of 1, and Euler's identity.

    That examples do not see each other is confronted once for each shape of inputs and state of the model, of which its
    numbers are part.
    """

    validates = True

    @contextmanager
    def around(self, function: ScalarFunction, device: torch.device) -> Iterator[None]:
        """Refuse training mode, and put random numbers and buffers back, which see inputs that are scaled far away."""
        # First of all: dropout would be reported as a violation, with a search for layers that are not to blame.
        require_evaluation_mode(function.forward_func, self.where)
        self._reports = Reports(self)
        with preserve_state(function.forward_func, device):
            yield

    def evaluated(
        self, function: ScalarFunction, inputs: tuple[Tensor, ...], evaluate: Evaluate
    ) -> tuple[Evaluation, float]:
        """Return F and ∇F of one part, and the degree that was tested or found."""
        evaluation = evaluate(function, inputs)
        known = self.proofs.unproven(function.forward_func, inputs, function.additional)
        separate = known.seen.separate(function.forward_func)
        report = self._reports.measured(function, evaluation, self.degree, separate=separate)
        if report.homogeneous and not separate:
            known.seen.separates(function.forward_func)
        return evaluation, self._reports.degree_of(report)

    def conclusion(self) -> str | None:
        """Return what to say of the worst violation; refuse a degree that is not the same in all parts."""
        return self._reports.conclusion()
