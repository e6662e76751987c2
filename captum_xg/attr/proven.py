"""The degree as a proof gives it, which every call confronts with Euler's identity.

A proof sees what a forward pass does when it is made. What Python holds may change behind it, unseen: then Euler's
identity fails in all cases but those that leave the attributions as they are, or act on the path to 0 alone. So it is
asked of every call, at the price of one sum, and now and then an example is looked at on that path
(:mod:`.scaled_row`). Where one fails, the proof is dropped, and the numeric check and a new proof decide.

Example: ``settings.shift = 0.5`` in a module that a layer imports. What must never happen: a proof outweighs numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.state import preserve_random_numbers, preserve_state
from captum_xg.attr.measured import Reports
from captum_xg.attr.refusal import changed_since, disagreement, refusal_message, uncertified_message
from captum_xg.attr.scaled_row import scale_that_differs
from captum_xg.attr.trusted import Evaluate, Trusted
from captum_xg.errors import DegreeError
from captum_xg.homogeneity.certificate.cache import Known
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.confronted import is_contradicted
from captum_xg.homogeneity.check.euler import euler_check, precision_of
from captum_xg.homogeneity.check.one_function import require_separate
from captum_xg.homogeneity.check.report import HomogeneityError, HomogeneityReport


class Certified(Trusted):
    """A proof for the model as it is and inputs of this shape, from memory if it still holds."""

    validates = True
    _doubt: str | None = None

    @contextmanager
    def around(self, function: ScalarFunction, device: torch.device) -> Iterator[None]:
        """Put random numbers back; buffers, which would have to be compared, only where F runs elsewhere than at x."""
        with preserve_random_numbers(device):
            yield

    def evaluated(
        self, function: ScalarFunction, inputs: tuple[Tensor, ...], evaluate: Evaluate
    ) -> tuple[Evaluation, float]:
        """Return F and ∇F of one part, and the degree that is proven, asked for the proof before F is evaluated."""
        # Before F is evaluated: what cannot be proven costs no backward pass.
        return self._on_a_proof(self._known(function, inputs), function, inputs, evaluate)

    def _on_a_proof(
        self, known: Known, function: ScalarFunction, inputs: tuple[Tensor, ...], evaluate: Evaluate
    ) -> tuple[Evaluation, float]:
        """Return F and ∇F of one part, and the degree that is proven, confronted with these numbers."""
        k = self._admitted(known.certificate, function, inputs)
        evaluation = evaluate(function, inputs)
        if not known.certificate.covers(k):
            return evaluation, k or 1.0
        if not known.seen.separate(function.forward_func):
            with preserve_state(function.forward_func, inputs[0].device):
                require_separate(function, evaluation, precision_of(evaluation, self.rtol, known.seen.inner))
            known.seen.separates(function.forward_func)
        precision = precision_of(evaluation, self.rtol, known.seen.inner)
        if not euler_check(evaluation, k or 1.0, precision).holds:
            self._confront(function, inputs, evaluation, k, known)
        elif known.stands:
            scale = scale_that_differs(function, evaluation, k or 1.0, precision, known.seen)
            if scale is not None:
                self._confront(function, inputs, evaluation, k, known, scale)
        return evaluation, k or 1.0

    def rests_on_a_proof(self, function: ScalarFunction, inputs: tuple[Tensor, ...]) -> bool:
        """Return True: without one the part is refused, or noted."""
        return True

    def conclusion(self) -> str | None:
        """Return what to say of the first part that has no certificate."""
        return self._doubt

    def _known(self, function: ScalarFunction, inputs: tuple[Tensor, ...]) -> Known:
        return self.proofs.proven(function.forward_func, inputs, function.additional, self.where)

    def _admitted(self, certificate: Certificate, function: ScalarFunction, inputs: tuple[Tensor, ...]) -> float | None:
        """Return the degree to divide by; refuse what is not proven to have it, or take a note of that."""
        k = certificate.degree if self.degree is None else self.degree
        if not certificate.covers(k):
            # Proven, but of a degree below 1: no warning can make x·∇F/k an attribution.
            if self.degree is None and certificate.homogeneous:
                raise DegreeError(
                    f"{self.where}: degree='auto' found degree {k:g}, but X-Gradient needs k ≥ 1: below it ∇F grows "
                    "without bound towards the zero baseline, and at 0 there is nothing to distribute."
                )
            changed = "" if certificate.homogeneous else self._changed(function, inputs)
            message = uncertified_message(certificate, k, self.where, changed)
            if self.raises:
                raise HomogeneityError(message, certificate=certificate)
            self._note(message)
        return k

    def _changed(self, function: ScalarFunction, inputs: tuple[Tensor, ...]) -> str:
        """Return what has changed since there was a proof, ``""`` if there was none."""
        earlier = self.proofs.earlier(inputs)
        return "" if earlier is None else changed_since(earlier.written_to(function.forward_func))

    def _note(self, message: str) -> None:
        self._doubt = self._doubt or message  # one warning for the call, of the first part

    def _confront(
        self,
        function: ScalarFunction,
        inputs: tuple[Tensor, ...],
        evaluation: Evaluation,
        k: float | None,
        known: Known,
        scale: float | None = None,
    ) -> None:
        """Drop a proof that numbers contradict, and let the numeric check and a new proof decide.

        With a scale at which an example was seen to deviate, all of them are looked at there as well.
        """
        self.proofs.drop(known)
        reports = Reports(replace(self, degree=k))
        with preserve_state(function.forward_func, inputs[0].device):
            report = reports.measured(function, evaluation, k, separate=True)
            if scale is not None and not report.violated:
                report = reports.measured(function, evaluation, k, separate=True, scales=(scale,))
        if not report.violated:
            # Casts inside of F to a coarser dtype explain it; what was looked for once is kept with the proof.
            again = self._known(function, inputs)
            self._admitted(again.certificate, function, inputs)
            again.seen.inner, again.seen.versions = report.dtypes, known.seen.versions
            again.seen.confirmed = known.seen.confirmed
            again.seen.in_batches = scale is not None  # one row alone says what the batch does not
            return
        note = changed_since(known.written_to(function.forward_func)) if known.stands else disagreement(k)
        self._contradicted(report, note)

    def _contradicted(self, report: HomogeneityReport, note: str) -> None:
        """Refuse, or take a note of, what numbers say against a proof."""
        report = replace(report, notes=(*report.notes, note))
        message = refusal_message(report, self.where)
        if self.raises:
            raise HomogeneityError(message, report, report.certificate)
        self._note(message)


class Auto(Certified):
    """The numeric check and a proof at the first call for a model state and shape; then Euler's identity, or both.

    While the proof stands, Euler's identity is asked, and now and then one example at another scale. Where there is
    none, the numeric check is made every time.
    """

    @contextmanager
    def around(self, function: ScalarFunction, device: torch.device) -> Iterator[None]:
        """Begin to collect reports."""
        self._reports = Reports(self)
        with super().around(function, device):
            yield

    def evaluated(
        self, function: ScalarFunction, inputs: tuple[Tensor, ...], evaluate: Evaluate
    ) -> tuple[Evaluation, float]:
        """Return F and ∇F of one part, and the degree that is proven or was measured."""
        known = self.proofs.standing(function.forward_func, inputs, function.additional)
        if known is not None and _settles(known):
            return self._on_a_proof(known, function, inputs, evaluate)
        require_evaluation_mode(function.forward_func, self.where)
        with preserve_state(function.forward_func, inputs[0].device):
            evaluation = evaluate(function, inputs)
            separate = known is not None and known.seen.separate(function.forward_func)
            report = self._reports.measured(function, evaluation, self.degree, separate=separate)
            if _speaks_against(report):
                return evaluation, self._refused(report, function, inputs)
            # Only of what has passed: numbers say best what is wrong, and name who is to blame.
            known = self._known(function, inputs)
            if report.tested_degree is None and known.certificate.homogeneous:  # zero on these rays, whatever k is
                k = self._admitted(known.certificate, function, inputs)
                report = self._reports.measured(function, evaluation, k, separate=True)
                if _speaks_against(report):
                    return evaluation, self._refused(report, function, inputs)
        if not known.seen.separate(function.forward_func):
            known.seen.separates(function.forward_func)
        known.seen.confirmed, known.seen.inner = True, report.dtypes
        if is_contradicted(known.certificate):
            # The numeric check looks at fewer numbers than those that took the proof away.
            return evaluation, self._admitted(known.certificate, function, inputs) or report.tested_degree or 1.0
        if known.certificate.verdict == "unknown":
            return evaluation, self._reports.degree_of(report)
        k = self._admitted(known.certificate, function, inputs)
        return evaluation, k or report.tested_degree or 1.0

    def rests_on_a_proof(self, function: ScalarFunction, inputs: tuple[Tensor, ...]) -> bool:
        """Return whether a proof stands that was confronted with numbers at an earlier call."""
        known = self.proofs.standing(function.forward_func, inputs, function.additional)
        return known is not None and _settles(known)

    def _refused(self, report: HomogeneityReport, function: ScalarFunction, inputs: tuple[Tensor, ...]) -> float:
        """Return the degree for what is refused, or noted, by its numbers; say so if it is, or was, proven."""
        if changed := self._changed(function, inputs):
            report = replace(report, notes=(*report.notes, changed))
        if report.certificate is not None and report.certificate.covers(report.tested_degree):
            self._contradicted(report, disagreement(report.certificate.degree))
        return self._reports.degree_of(report)

    def conclusion(self) -> str | None:
        """Return what to say of the first part that is not proven; else of the worst that was measured."""
        measured = self._reports.conclusion()
        return self._doubt or measured

    def _known(self, function: ScalarFunction, inputs: tuple[Tensor, ...]) -> Known:
        return self.proofs.proven(function.forward_func, inputs, function.additional, self.where, once=True)


def _settles(known: Known) -> bool:
    return known.seen.confirmed and known.certificate.homogeneous


def _speaks_against(report: HomogeneityReport) -> bool:
    """Return whether a report shows that x·∇F/k is not Integrated Gradients, and not merely that it was not tested."""
    return report.violated or (report.tested_degree is not None and report.tested_degree < 1)
