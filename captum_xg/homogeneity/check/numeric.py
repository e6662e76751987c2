"""The numeric check of F(αx) = αᵏF(x), and of Euler's identity, on given inputs.

The order of events is that of the cost: two or six scales; if they disagree, once more at the precision that F computes
in inside; and only if that fails too, the search for who is to blame (:mod:`.diagnosis`). A report must never say
"homogeneous" of an example that was tried at no scale below 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.inputs import format_inputs
from captum_xg._core.model_state import require_usable_state
from captum_xg._core.modules import require_evaluation_mode
from captum_xg._core.options import single_number, single_numbers
from captum_xg._core.state import preserve_state
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import ForwardFunction, Target
from captum_xg.errors import DegreeError, OptionError, OptionTypeError
from captum_xg.homogeneity.check.diagnosis import explain_violation
from captum_xg.homogeneity.check.euler import precision_of
from captum_xg.homogeneity.check.one_function import require_separate
from captum_xg.homogeneity.check.report import HomogeneityReport
from captum_xg.homogeneity.scaling.checks import ScaleCheck
from captum_xg.homogeneity.scaling.dtypes import inner_dtypes
from captum_xg.homogeneity.scaling.judgement import (
    estimate_degree,
    euler_terms,
    judge_euler,
    judge_gradients,
    judge_scales,
)
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.trials import run_trials, to_vector


def check_homogeneity(
    forward_func: ForwardFunction,
    inputs: Tensor | tuple[Tensor, ...],
    target: Target = None,
    additional_forward_args: object = None,
    *,
    degree: float | None = None,
    scales: Sequence[float] | None = None,
    rtol: float | None = None,
) -> HomogeneityReport:
    r"""Test numerically whether F is positively homogeneous, F(αx) = αᵏF(x) for α > 0, and say where it is not.

    Every example is tried at every scale, and Euler's identity Σ xᵢ·∂F/∂xᵢ = kF(x) at x. Powers of two commute with
    every rounding of a homogeneous op, so they are compared bit-tight; other scales with a tolerance of √eps. A
    violation is traced to the layers that cause it.

    This is a test, not a proof. It sees these inputs at these scales, and F only: values can agree along the ray
    through x while the gradient is not constant along it, as for F(x, y) = x + y² − y·x² at y = 0.

    Args:
        forward_func: A module or any callable that gives one score per example once ``target`` is chosen.
        inputs: Tensor, or tuple of tensors, of shape ``(N, …)``; a tuple is scaled jointly.
        target: Captum's target.
        additional_forward_args: What follows the inputs in a call; it is not scaled.
        degree: k to test; None to find it.
        scales: α > 0 to try; by default six powers of two, three on each side of 1, as wide as the dtype carries.
        rtol: Largest relative deviation that counts as rounding at powers of two; 8 eps by default (half precision: 1).

    Returns:
        A :class:`HomogeneityReport`; ``str()`` of it is a table.

    Raises:
        InputError, TargetError, ForwardOutputError, GradientError: If F or its gradient cannot be computed.
        TrainingModeError, NondeterministicForwardError, CrossExampleError: If F is not one function per example.
        ModelStateError, DegreeError: If parameters or buffers hold no finite numbers; if ``degree`` is not a number.
        OptionError: If a scale is not a finite positive number, or all of them are 1, or ``rtol`` is not a number ≥ 0.
        OptionTypeError: If ``forward_func`` is no model or function, such as the class of one.

    Source: Hesse et al. 2021, Proposition 3.2 and Definition 3.3 (homogeneity), Eq. 9 (its gradient).

    Example:
        >>> report = check_homogeneity(torch.nn.Linear(3, 1), torch.rand(4, 3))
        >>> report.homogeneous
        False
    """
    where = "check_homogeneity"
    function = ScalarFunction(forward_func, additional_forward_args, target, where)
    k, tolerance, wanted = _checked_degree(degree, where), checked_rtol(rtol, where), _checked_scales(scales, where)
    formatted = format_inputs(inputs, where)
    require_usable_state(forward_func, where)
    require_evaluation_mode(forward_func, where)
    with (
        ids_refused(forward_func, inputs, additional_forward_args, where),
        torch.inference_mode(False),
        preserve_state(forward_func, formatted[0].device),
    ):
        evaluation = function.evaluate(formatted)
        report = verify_homogeneity(function, evaluation, degree=k, rtol=tolerance, scales=wanted, thorough=True)
        if not report.violated:
            require_separate(function, evaluation, precision_of(evaluation, tolerance, report.dtypes))
        return report


def verify_homogeneity(
    function: ScalarFunction,
    evaluation: Evaluation,
    *,
    degree: float | None,
    rtol: float | None,
    scales: tuple[float, ...] | None = None,
    thorough: bool = False,
) -> HomogeneityReport:
    """Measure, and where F is violated find out why: a coarser precision inside of F, or what breaks it.

    Degree and ``rtol`` of None are found, and taken from the dtype. Scales of None are two far ones, or six if
    ``thorough``; they give way to nearer ones where they leave its range.

    Raises:
        NondeterministicForwardError, CrossExampleError: If F is not one function per example.
    """

    def measured(precision: Precision) -> HomogeneityReport:
        chosen = precision.default_scales(degree, thorough=thorough) if scales is None else scales
        return measure_homogeneity(function, evaluation, precision, degree, chosen, may_shrink=scales is None)

    precision = precision_of(evaluation, rtol)
    report = measured(precision)
    if report.violated:
        # Casts inside of F do not show at its borders. Looking for them costs a pass, so it waits until it matters.
        inside = precision_of(evaluation, rtol, inner_dtypes(function.values, evaluation.inputs))
        if inside != precision:
            precision, report = inside, measured(inside)
    if not report.violated:
        return report
    if not report.values_hold and scales is None:
        k = report.tested_degree or 1.0
        near = measure_homogeneity(function, evaluation, precision, k, (0.5, 2.0), may_shrink=False)
        notes = (_far_only(report.dtype),) if near.values_hold else ()
        report = replace(report, notes=report.notes + notes)
    return explain_violation(function, evaluation, report, precision)


def measure_homogeneity(
    function: ScalarFunction,
    evaluation: Evaluation,
    precision: Precision,
    degree: float | None,
    scales: tuple[float, ...],
    *,
    may_shrink: bool,
) -> HomogeneityReport:
    """Run the trials and judge them, without looking for the reason of a violation."""
    values = to_vector(evaluation.values)
    euler_sum, magnitude = euler_terms(evaluation)
    magnitude = torch.maximum(magnitude, values.abs())
    trials = run_trials(function, evaluation, scales, precision, degree, magnitude, may_shrink=may_shrink)
    shown, notes = estimate_degree(trials, values, magnitude, precision)
    tested = shown if degree is None else degree
    checks = judge_scales(trials, values, magnitude, tested if tested is not None else 1.0, precision)
    euler = None if tested is None else judge_euler(euler_sum, values, magnitude, tested, precision)
    # F is zero on the whole ray, so its values agree with every degree and only its gradients can tell.
    blind = (values == 0) & (trials.observed == 0).all(0)
    gradient = None
    if tested is not None and blind.any():
        below = trials.scales.amin(0)
        gradient = judge_gradients(function, evaluation, blind, below, magnitude, tested, precision)
    holds = all(check is None or check.holds for check in (*checks, euler, gradient))
    nothing_to_attribute = bool(blind.all()) and not magnitude.any()
    # The path of Integrated Gradients lies below α = 1, so that is where each example must have been.
    tried = trials.usable & ((trials.scales < 1) if may_shrink else (trials.scales != 1))
    unchecked = tuple((~tried.any(0)).nonzero().flatten().tolist())
    determined = tested is not None or nothing_to_attribute
    worst = max(checks, key=lambda check: check.max_deviation, default=ScaleCheck(1.0, 0, 0.0, 0.0, 0, 0.0, 0.0))
    report = HomogeneityReport(
        homogeneous=holds and determined and not unchecked and (tested is None or tested >= 1),
        degree=tested if holds and determined else shown,
        tested_degree=tested,
        max_deviation=worst.max_deviation,
        worst_example=worst.worst_example,
        worst_scale=worst.scale,
        scales=checks,
        euler=euler,
        unused=trials.unused,
        unchecked=unchecked,
        examples=len(values),
        dtype=str(precision.dtype).removeprefix("torch."),
        gradient=gradient,
    )
    return replace(report, notes=(*notes, *_remarks(report, shown, bool(blind.all()), nothing_to_attribute)))


def _remarks(report: HomogeneityReport, shown: float | None, zero: bool, nothing_to_attribute: bool) -> Iterator[str]:
    """Yield what the numbers of a report mean, where it is not obvious."""
    if report.tested_degree is None and nothing_to_attribute:
        yield "F is zero at x and at every scale, and so are all attributions, whatever the degree."
    elif report.tested_degree is None and zero:
        yield "F is zero along these rays but its gradient is not: they cannot tell the degree. Give `degree`."
    below_one = next((k for k in (report.tested_degree, shown) if k is not None and k < 1), None)
    if below_one == 0:
        yield (
            "F is scale-invariant (degree 0): F(αx) does not tend to F(0) as α → 0, so Integrated Gradients against "
            "zero has nothing to distribute and Σ x·∂F is 0."
        )
    elif below_one is not None:
        yield (
            f"F shows degree {below_one:g}, below 1: ∇F grows without bound towards the zero baseline, so it is "
            "refused."
        )
    if report.values_hold and report.euler is not None and not report.euler.holds:
        yield (
            "The values scale but the gradient is not the gradient of F: some path is detached (detach, no_grad, "
            ".data, a custom autograd function, a backward hook); or large terms nearly cancel in F and leave its "
            "rounding (then float64 helps)."
        )


def _far_only(dtype: str) -> str:
    return (
        "At α = 1/2 and 2 it holds: something acts only far from x, a threshold, a small constant or a limit; or "
        f"intermediate values leave the range of {dtype} (then a wider dtype helps)."
    )


def _checked_degree(degree: object, where: str) -> float | None:
    k = None if degree is None else single_number(degree)
    if degree is not None and (k is None or not math.isfinite(k)):
        raise DegreeError(f"{where}: `degree` must be a number or None but is {degree!r}.")
    return k


def _checked_scales(scales: object, where: str) -> tuple[float, ...] | None:
    if scales is None:
        return None
    wanted = single_numbers(scales)
    if not wanted or not all(0 < alpha < math.inf for alpha in wanted) or all(alpha == 1 for alpha in wanted):
        kind = OptionTypeError if wanted is None else OptionError
        raise kind(f"{where}: `scales` must be finite numbers above 0, and not only 1, but are {scales!r}.")
    return wanted


def checked_rtol(rtol: object, where: str) -> float | None:
    """Return a tolerance: None, or a finite number ≥ 0.

    Raises:
        OptionTypeError: If it is no number.
        OptionError: If it is negative, NaN or infinite.
    """
    if rtol is None:
        return None
    number = single_number(rtol)
    if number is None or not 0 <= number < math.inf:
        kind = OptionTypeError if number is None else OptionError
        raise kind(f"{where}: `rtol` must be a number ≥ 0 or None but is {rtol!r}.")
    return number
