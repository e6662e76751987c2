"""Causes of F(αx) ≠ αᵏF(x): a random forward pass, examples that see each other, or layers that do not scale.

They are looked for in this order, because each makes the next one meaningless. Layers are named by the certificate;
only where it has nothing to say are they probed (:mod:`.localization`).

Example: batch norm without running statistics breaks F(αx) = αF(x) and mixes examples; that examples are mixed is what
has to be said, as no attribution to one of them is complete then.

What must never happen: the search hides the violation. Whatever it runs into becomes a note of the report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.modules import modules_of, named_modules_of
from captum_xg._core.target import PARTS_ADVICE
from captum_xg.errors import CrossExampleError, NondeterministicForwardError
from captum_xg.homogeneity.certificate.certificate import Certificate, Violation
from captum_xg.homogeneity.certificate.certify import prove
from captum_xg.homogeneity.check.localization import find_culprits
from captum_xg.homogeneity.check.report import Culprit, HomogeneityReport
from captum_xg.homogeneity.scaling.judgement import euler_terms
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.trials import scale_inputs, to_vector

_Differ: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""For two vectors of values: where they differ by more than rounding."""


def explain_violation(
    function: ScalarFunction, evaluation: Evaluation, report: HomogeneityReport, precision: Precision
) -> HomogeneityReport:
    """Return the report with the layers that break homogeneity, if it is violated.

    Raises:
        NondeterministicForwardError: If repeating the forward pass changes F(x).
        CrossExampleError: If changing other examples changes F(x) of one.
    """
    differ = partial(_differ, size=euler_terms(evaluation)[1], tolerance=precision.inexact_rtol)
    _require_repeatable(function, evaluation, differ)
    _require_separate_examples(function, evaluation, report, differ)
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


def _require_repeatable(function: ScalarFunction, evaluation: Evaluation, differ: _Differ) -> None:
    recorded, first, second = to_vector(evaluation.values), _values(function, evaluation), _values(function, evaluation)
    for one, other, what in (
        (first, second, "calling it again on the same inputs"),
        (recorded, first, "calling it without recording gradients, which X-Gradient's check does,"),
    ):
        different = differ(one, other)
        if different.any():
            i = int(different.nonzero()[0])
            raise NondeterministicForwardError(
                f"{function.where}: the forward function is not deterministic: {what} changes F(x) of example "
                f"{function.first + i} from {float(one[i]):.6g} to {float(other[i]):.6g}. Dropout or noise that "
                "ignores model.eval(), or a branch on torch.is_grad_enabled() are frequent causes. Make F a fixed "
                "function of its inputs."
            )


def _require_separate_examples(
    function: ScalarFunction, evaluation: Evaluation, report: HomogeneityReport, differ: _Differ
) -> None:
    """Change all examples but the one that deviates most, in several ways, and see whether its value changes."""
    if len(evaluation.values) == 1:
        return
    failing = report.worst_example
    if report.values_hold:
        failing = next(c.worst_example for c in (report.euler, report.gradient) if c is not None and not c.holds)
    before = to_vector(evaluation.values)
    # Larger, smaller and negative: a maximum over the batch, or a ReLU of a mean, may not show for one of them.
    for factor in (0.5, 8.0, -8.0):
        scales = torch.full_like(before, factor)
        scales[failing] = 1.0
        after = to_vector(function.values(scale_inputs(evaluation.inputs, scales)))
        if bool(differ(before, after)[failing]):
            norms = [
                f"{path} ({type(m).__name__})"
                for path, m in named_modules_of(function.forward_func).values()
                if isinstance(m, _BatchNorm) and m.running_mean is None
            ]
            hint = f" Layers that normalise by batch statistics even in eval mode: {', '.join(norms)}." if norms else ""
            raise CrossExampleError(
                f"{function.where}: the value for one example depends on the others: multiplying the others by "
                f"{factor:g} changes F(x) of example {function.first + failing} from {float(before[failing]):.6g} to "
                f"{float(after[failing]):.6g}, so no attribution to one example's input is complete.{hint} Let the "
                f"forward function treat examples separately, or explain one at a time.{PARTS_ADVICE}"
            )


def _values(function: ScalarFunction, evaluation: Evaluation) -> Tensor:
    # A copy: the first layer may work in place.
    return to_vector(function.values(tuple(x.detach().clone() for x in evaluation.inputs)))


def _differ(one: Tensor, other: Tensor, *, size: Tensor, tolerance: float) -> Tensor:
    # Kernels may differ with gradient recording, by rounding; randomness and mixing change more than that. Rounding is
    # relative to the terms that F is a sum of, which may nearly cancel.
    size = torch.maximum(torch.maximum(one.abs(), other.abs()), size)
    return ~((one - other).abs() <= tolerance * size)
