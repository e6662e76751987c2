"""Causes of F(αx) ≠ αᵏF(x): a random forward pass, examples that see each other, or layers that do not scale.

They are looked for in this order, because each makes the next one meaningless. Layers are named by the certificate;
only where it has nothing to say are they probed (:mod:`.localization`).

Example: batch norm without running statistics breaks F(αx) = αF(x) and mixes examples; that examples are mixed is what
has to be said, as no attribution to one of them is complete then.

What must never happen: the search hides the violation. Whatever it runs into becomes a note of the report.
"""

from __future__ import annotations

from dataclasses import replace

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.modules import modules_of
from captum_xg.homogeneity.certificate.certificate import Certificate, Violation
from captum_xg.homogeneity.certificate.prove import prove
from captum_xg.homogeneity.check.localization import find_culprits
from captum_xg.homogeneity.check.one_function import differ_for, require_repeatable, require_separate_from
from captum_xg.homogeneity.check.report import Culprit, HomogeneityReport
from captum_xg.homogeneity.scaling.precision import Precision


def explain_violation(
    function: ScalarFunction, evaluation: Evaluation, report: HomogeneityReport, precision: Precision
) -> HomogeneityReport:
    """Return the report with the layers that break homogeneity, if it is violated.

    Raises:
        NondeterministicForwardError: If repeating the forward pass changes F(x).
        CrossExampleError: If changing other examples changes F(x) of one.
    """
    differ = differ_for(evaluation, precision)
    require_repeatable(function, evaluation, differ)
    failing = report.worst_example
    if report.values_hold:
        failing = next(c.worst_example for c in (report.euler, report.gradient) if c is not None and not c.holds)
    require_separate_from(function, evaluation, failing, differ)
    # From here on F is a function of each example alone, so one example shows what is wrong.
    certificate, notes = _certificate(function, evaluation, report)
    report = replace(report, certificate=certificate, notes=report.notes + notes)
    if certificate is not None and certificate.violations:
        return replace(report, culprits=tuple(map(_culprit, certificate.violations)))
    if report.values_hold:
        return report  # it is the gradient that is not theirs, and no layer's output shows that
    culprits, notes = find_culprits(function, evaluation.inputs, report.worst_example, precision)
    if not culprits and modules_of(function.forward_func) and not notes:
        notes = (
            "Every layer is homogeneous by itself on the activations it receives: what breaks it stands outside of "
            "them, in the forward function, or is a sum of parts of different degree.",
        )
    return replace(report, culprits=culprits, notes=report.notes + notes)


def _certificate(
    function: ScalarFunction, evaluation: Evaluation, report: HomogeneityReport
) -> tuple[Certificate | None, tuple[str, ...]]:
    """Return what a static analysis says of the example that deviates most, and sentences on what it could not see."""
    i, n = report.worst_example, len(evaluation.values)
    one = function.examples(i, i + 1, n)
    try:
        certificate = prove(
            one.forward_func, tuple(x[i : i + 1].detach() for x in evaluation.inputs), one.additional, one.where
        ).certificate
    except Exception as error:  # the violation is what must be reported, whatever its explanation runs into
        return None, (f"It could not be analysed op by op: {type(error).__name__}: {error}",)
    return certificate, tuple(
        f"Not analysed: {line}" for v in certificate.unsupported for line in [str(v).splitlines()[0]]
    )


def _culprit(violation: Violation) -> Culprit:
    reasons = "; ".join([violation.reason, *(reason for _, _, reason in violation.further)])
    return Culprit(violation.module, violation.type, reasons, violation.remedy, violation.location)
