"""Three ways to know the degree that X-Gradient divides by: it is taken on trust, measured, or proven.

One validation serves one call. For each part of the batch it evaluates F and ∇F and decides the degree, and it is the
only one who does; at the end it concludes over all parts. It refuses by raising. What the caller wants anyhow
(``on_violation="warn"``) is a message at the end, once per call. A degree that was not validated must never be returned
without one or the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.state import preserve_state
from captum_xg.attr.refusal import refusal_message, uncertified_message
from captum_xg.errors import DegreeError
from captum_xg.homogeneity.certificate.cache import CertificateCache
from captum_xg.homogeneity.check.numeric import verify_homogeneity
from captum_xg.homogeneity.check.report import HomogeneityError, HomogeneityReport

Evaluate: TypeAlias = Callable[[ScalarFunction, tuple[Tensor, ...]], Evaluation]


@dataclass
class Trusted:
    """The degree that the caller gives, unchecked; and what all validations share.

    Attributes:
        degree: k; None to find it.
        raises: Whether a violation is an error, or else a warning.
        rtol: Largest relative deviation that counts as rounding; None for that of the dtype.
        proofs: Certificates that still stand.
        where: The public name that errors begin with.
    """

    degree: float | None
    raises: bool
    rtol: float | None
    proofs: CertificateCache
    where: str

    @contextmanager
    def around(self, function: ScalarFunction, device: torch.device) -> Iterator[None]:
        """Prepare for the call, and put back what validating it changes."""
        yield

    def evaluated(
        self, function: ScalarFunction, inputs: tuple[Tensor, ...], evaluate: Evaluate
    ) -> tuple[Evaluation, float]:
        """Return F and ∇F of one part of the batch, and its degree.

        Raises:
            DegreeError: If there is no degree k ≥ 1 to be found.
            HomogeneityError: If F does not have the degree, and that is an error.
        """
        return evaluate(function, inputs), self.degree or 1.0  # there is one: "auto" is refused with validate="off"

    def conclusion(self) -> str | None:
        """Return what to warn of, after the last part.

        Raises:
            DegreeError: If the parts have different degrees.
        """
        return None


class Measured(Trusted):
    """F(αx) = αᵏF(x) on every example, at one scale on each side of 1, and Euler's identity."""

    @contextmanager
    def around(self, function: ScalarFunction, device: torch.device) -> Iterator[None]:
        """Refuse training mode, and put random numbers and buffers back, which see inputs that are scaled far away."""
        # First of all: dropout would be reported as a violation, with a search for layers that are not to blame.
        require_evaluation_mode(function.forward_func, self.where)
        self._reports: list[HomogeneityReport] = []
        with preserve_state(function.forward_func, device):
            yield

    def evaluated(
        self, function: ScalarFunction, inputs: tuple[Tensor, ...], evaluate: Evaluate
    ) -> tuple[Evaluation, float]:
        """Return F and ∇F of one part, and the degree that was tested or found."""
        evaluation = evaluate(function, inputs)
        report = verify_homogeneity(function, evaluation, degree=self.degree, rtol=self.rtol).shifted(function.first)
        self._reports.append(report)
        k = report.tested_degree
        # Not a violation that may be waived: without a degree there is nothing to divide by.
        if not report.homogeneous and self.degree is None and (k is None or k < 1):
            reason = " ".join(report.notes) or "F(αx)/F(x) is no single power of α."
            raise DegreeError(f"{self.where}: degree='auto' found no degree k ≥ 1. {reason}\n{report}")
        if not report.homogeneous and self.raises:
            raise HomogeneityError(refusal_message(report, self.where), report, report.certificate)
        # No degree is left only where F and all attributions are zero, whatever it is.
        return evaluation, k or 1.0

    def conclusion(self) -> str | None:
        """Return what to say of the worst violation; refuse a degree that is not the same in all parts."""
        # Each part has estimated its own. That they differ shows only here, when all have been seen.
        found = sorted({report.tested_degree for report in self._reports if report.tested_degree is not None})
        if self.degree is None and found and found[-1] - found[0] > 1e-4 * found[-1]:
            raise DegreeError(
                f"{self.where}: degree='auto' found different degrees in different parts of the batch: {found}. "
                "One forward function has one degree; explain the parts separately with `degree` given."
            )
        violated = [report for report in self._reports if not report.homogeneous]
        return refusal_message(max(violated, key=lambda r: r.max_deviation), self.where) if violated else None


class Certified(Trusted):
    """A proof for the model as it is and inputs of this shape, from memory if it still holds."""

    _doubt: str | None = None

    def evaluated(
        self, function: ScalarFunction, inputs: tuple[Tensor, ...], evaluate: Evaluate
    ) -> tuple[Evaluation, float]:
        """Return F and ∇F of one part, and the degree that is proven, asked for the proof before F is evaluated."""
        # Before F is evaluated: what cannot be proven costs no backward pass.
        certificate = self.proofs.certificate(function.forward_func, inputs, function.additional, self.where)
        k = certificate.degree if self.degree is None else self.degree
        if not certificate.covers(k):
            # Proven, but of a degree below 1: no warning can make x·∇F/k an attribution.
            if self.degree is None and certificate.homogeneous:
                raise DegreeError(
                    f"{self.where}: degree='auto' found degree {k:g}, but X-Gradient needs k ≥ 1: below it ∇F grows "
                    "without bound towards the zero baseline, and at 0 there is nothing to distribute."
                )
            message = uncertified_message(certificate, k, self.where)
            if self.raises:
                raise HomogeneityError(message, certificate=certificate)
            self._doubt = self._doubt or message  # one warning for the call, of the first part
        return evaluate(function, inputs), k or 1.0

    def conclusion(self) -> str | None:
        """Return what to say of the first part that has no certificate."""
        return self._doubt


VALIDATIONS: dict[str, type[Trusted]] = {"numeric": Measured, "certificate": Certified, "off": Trusted}
"""The values of XGradient's option ``validate``."""
