"""The numeric check: does F(αx) = αᵏF(x) hold, and Euler's identity, on given inputs?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_xg._function import Evaluation, ScalarFunction
from captum_xg._inputs import format_inputs
from captum_xg._types import Target
from captum_xg.errors import DegreeError
from captum_xg.homogeneity.diagnosis import explain_violation, restoring_random_state
from captum_xg.homogeneity.modules import require_evaluation_mode
from captum_xg.homogeneity.precision import Precision
from captum_xg.homogeneity.report import EulerCheck, HomogeneityReport, ScaleCheck
from captum_xg.homogeneity.trials import Trials, run_trials, scale_inputs, to_vector


def check_homogeneity(
    forward_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target: Target = None,
    additional_forward_args: object = None,
    *,
    degree: float | None = None,
    scales: Sequence[float] | None = None,
    rtol: float | None = None,
) -> HomogeneityReport:
    r"""Test numerically whether F is positively homogeneous, F(αx) = αᵏF(x) for α > 0, and say where it is not.

    Every example is tried at every scale, and Euler's identity Σ xᵢ·∂F/∂xᵢ = kF(x) at x. Powers of two are exact in
    binary floating point and commute with every rounding of a homogeneous op, so they are compared bit-tight; other
    scales with a tolerance of √eps. A violation is traced to the layers that are not homogeneous on the activations
    they really receive.

    This is a test, not a proof. It sees these inputs at these scales, and F only: values can agree along the ray
    through x while the gradient is not constant along it, as for F(x, y) = x + y² − y·x² at y = 0.

    Args:
        forward_func: A module or any callable that gives one score per example once ``target`` is chosen.
        inputs: Tensor, or tuple of tensors, of shape ``(N, …)``; a tuple is scaled jointly.
        target: Captum's target.
        additional_forward_args: What follows the inputs in a call; it is not scaled.
        degree: k to test; None to find it.
        scales: α > 0 to try; by default six powers of two, three on each side of 1, as wide as the dtype carries.
        rtol: Largest relative deviation that counts as rounding at powers of two; by default 8 eps of the dtype.

    Returns:
        A :class:`~captum_xg.homogeneity.report.HomogeneityReport`; ``str()`` of it is a table.

    Raises:
        InputError, TargetError, ForwardOutputError, GradientError: If F or its gradient is not to be had.
        TrainingModeError, NondeterministicForwardError, CrossExampleError: If F is not one function per example.
        DegreeError: If ``degree`` is not a number.
        ValueError: If a scale is not a finite positive number, or all of them are 1.

    Source: Hesse et al. 2021, Proposition 3.2 and Definition 3.3 (homogeneity), Eq. 9 (its gradient).

    Example:
        >>> report = check_homogeneity(torch.nn.Linear(3, 1), torch.rand(4, 3))
        >>> report.homogeneous
        False
    """
    where = "check_homogeneity"
    if degree is not None and not (isinstance(degree, (int, float)) and math.isfinite(degree)):
        raise DegreeError(f"{where}: `degree` must be a number or None but is {degree!r}.")
    function = ScalarFunction(forward_func, additional_forward_args, target, where)
    formatted = format_inputs(inputs, where)
    require_evaluation_mode(forward_func, where)
    with restoring_random_state(formatted[0].device):
        evaluation = function.evaluate(formatted)
        precision = Precision.of(*formatted, evaluation.values)
        if scales is None:
            m = precision.exponent_for(degree or 1.0)
            wanted = tuple(2.0**e for e in sorted({-m, -max(m // 2, 1), -1, 1, max(m // 2, 1), m}))
        else:
            wanted = _checked_scales(scales, where)
        report = measure_homogeneity(
            function, evaluation, degree=degree, rtol=rtol, scales=wanted, may_shrink=scales is None
        )
        return explain_violation(function, evaluation, report)


def default_scales(evaluation: Evaluation, degree: float | None) -> tuple[float, float]:
    """Return the two scales that every attribution is checked at, one on each side of 1."""
    m = Precision.of(*evaluation.inputs, evaluation.values).exponent_for(degree or 1.0)
    return 2.0**-m, 2.0**m


def measure_homogeneity(
    function: ScalarFunction,
    evaluation: Evaluation,
    *,
    degree: float | None,
    rtol: float | None,
    scales: tuple[float, ...],
    may_shrink: bool = True,
) -> HomogeneityReport:
    """Run the trials and judge them, without looking for the reason of a violation.

    Args:
        function: F.
        evaluation: F and ∇F at x.
        degree: k to test; None to estimate it from the trials.
        rtol: Tolerance at powers of two; None for that of the dtype.
        scales: The α to try.
        may_shrink: Whether to try nearer scales where one leaves the dtype's range.
    """
    precision = Precision.of(*evaluation.inputs, evaluation.values)
    if rtol is not None:
        precision = replace(precision, rtol=rtol, euler_rtol=max(rtol, precision.euler_rtol))
    trials = run_trials(function, evaluation, scales, precision, degree, may_shrink=may_shrink)
    values = to_vector(evaluation.values)
    euler_sum, magnitude = _euler_terms(evaluation)
    magnitude = torch.maximum(magnitude, values.abs())
    shown, notes = _estimate_degree(trials, values)
    tested = shown if degree is None else degree

    zero = not values.any() and not trials.observed.any()
    if tested is None and zero:
        notes += (
            ("F is zero along these rays but its gradient is not: they cannot tell the degree. Give `degree`.",)
            if magnitude.any()
            else ("F is zero at x and at every scale, and so are all attributions, whatever the degree.",)
        )
    checks = _judge_scales(trials, values, magnitude, tested if tested is not None else 1.0, precision)
    euler = None if tested is None else _judge_euler(euler_sum, values, magnitude, tested, precision)
    values_hold = all(check.holds for check in checks)
    blind = (values == 0) & (trials.observed == 0).all(0) & (magnitude > 0)
    gradient = None
    if tested is not None and blind.any():
        gradient = _judge_gradients(function, evaluation, blind, trials.scales[0], magnitude, tested, precision)
    holds = values_hold and all(check is None or check.holds for check in (euler, gradient))
    if tested is not None and tested < 1:
        notes += (_below_one(tested),)
    elif shown is not None and shown == 0:
        notes += (_below_one(shown),)
    if values_hold and euler is not None and not euler.holds:
        notes += (
            "The values scale but the gradient is not the gradient of F: some path is detached (detach, no_grad, "
            ".data, a custom autograd function, a backward hook).",
        )
    unchecked = tuple((~(trials.usable & (trials.scales != 1)).any(0)).nonzero().flatten().tolist())
    determined = tested is not None or (zero and not magnitude.any())
    worst = max(checks, key=lambda c: c.max_deviation, default=ScaleCheck(1.0, 0, 0.0, 0.0, 0, 0.0, 0.0))
    return HomogeneityReport(
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
        notes=notes,
    )


def _euler_terms(evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    """Return Σ x·∂F and Σ|x·∂F| per example, as float64 on the CPU.

    The second is the size of the terms that F is a sum of: the yardstick for rounding where they nearly cancel.
    """
    total = torch.zeros(len(evaluation.values), dtype=torch.float64)
    size = torch.zeros_like(total)
    for x, gradient in zip(evaluation.inputs, evaluation.gradients, strict=True):
        wide = torch.promote_types(x.dtype, torch.float32)
        terms = (x.detach().to(wide) * gradient.detach()).reshape(len(x), -1)
        total += to_vector(terms.sum(1))
        size += to_vector(terms.abs().sum(1))
    return total, size


def _estimate_degree(trials: Trials, values: Tensor) -> tuple[float | None, tuple[str, ...]]:
    """Return the one degree log(F(αx)/F(x)) / log α that all examples and scales show, if there is one."""
    relevant = trials.usable & (trials.scales != 1) & ((values != 0) | (trials.observed != 0))
    if not relevant.any():
        return None, ()
    ratio = (trials.observed / values)[relevant]
    if not (torch.isfinite(ratio).all() and (ratio > 0).all()):
        return None, ()
    degrees = torch.log2(ratio) / torch.log2(trials.scales[relevant])
    low, high = float(degrees.min()), float(degrees.max())
    if high - low > 1e-3 * max(1.0, abs(high)):
        per_example = [
            torch.log2((trials.observed / values)[:, i][r]) / torch.log2(trials.scales[:, i][r])
            for i in range(len(values))
            if (r := relevant[:, i]).any()
        ]
        if all(float(d.max() - d.min()) <= 1e-3 * max(1.0, abs(float(d.max()))) for d in per_example):
            return None, (f"Each example shows one degree, but not all the same: from {low:.4g} to {high:.4g}.",)
        return None, ()
    estimate = float(degrees.median())
    # Degrees are integers or simple fractions in practice; rounding in F moves the estimate off them by about eps.
    nice = round(estimate * 12) / 12
    return (nice if abs(estimate - nice) < 1e-4 else estimate), ()


def _judge_scales(
    trials: Trials, values: Tensor, magnitude: Tensor, degree: float, precision: Precision
) -> tuple[ScaleCheck, ...]:
    growth = trials.scales**degree
    expected = values * growth
    difference = (trials.observed - expected).abs()
    deviation = torch.where(difference == 0, 0.0, difference / (magnitude * growth))
    checks = []
    for alpha in sorted(set(trials.scales[trials.usable].tolist())):
        here = trials.usable & (trials.scales == alpha)
        by_example, passes = torch.where(here, deviation.nan_to_num(torch.inf), -1.0).max(0)
        example = int(by_example.argmax())
        at = (int(passes[example]), example)
        power_of_two = torch.frexp(torch.tensor(alpha, dtype=torch.float64)).mantissa == 0.5
        checks.append(
            ScaleCheck(
                scale=alpha,
                examples=int(here.any(0).sum()),
                tolerance=precision.rtol if power_of_two else max(precision.rtol, precision.euler_rtol),
                max_deviation=float(deviation[at]),
                worst_example=example,
                observed=float(trials.observed[at]),
                expected=float(expected[at]),
            )
        )
    return tuple(checks)


def _judge_euler(total: Tensor, values: Tensor, magnitude: Tensor, degree: float, precision: Precision) -> EulerCheck:
    expected = degree * values
    difference = (total - expected).abs()
    deviation = torch.where(difference == 0, 0.0, difference / torch.maximum(magnitude, expected.abs()))
    at = int(deviation.argmax())
    return EulerCheck(precision.euler_rtol, float(deviation[at]), at, float(total[at]), float(expected[at]))


def _judge_gradients(
    function: ScalarFunction,
    evaluation: Evaluation,
    blind: Tensor,
    scales: Tensor,
    magnitude: Tensor,
    degree: float,
    precision: Precision,
) -> ScaleCheck:
    """Compare ∇F(αx) with αᵏ⁻¹∇F(x) for the examples where F itself is zero and so agrees with every degree.

    F(x, y) = x² − y² at (1, 1) is one: degree 2, zero along the whole ray, attributions (1, −1) and not (2, −2).
    """
    there = function.evaluate(scale_inputs(evaluation.inputs, scales))
    growth = scales ** (degree - 1)
    difference, observed = torch.zeros_like(growth), torch.zeros_like(growth)
    for x, here, moved in zip(evaluation.inputs, evaluation.gradients, there.gradients, strict=True):
        rows = x.detach().reshape(len(x), -1).to("cpu", torch.float64)
        g = here.detach().reshape(len(x), -1).to("cpu", torch.float64)
        h = moved.reshape(len(x), -1).to("cpu", torch.float64)
        difference += (rows * (h - growth[:, None] * g)).abs().sum(1)
        observed += (rows * h).abs().sum(1)
    expected = growth * magnitude
    deviation = torch.where(blind, difference / expected, -1.0)
    at = int(deviation.argmax())
    return ScaleCheck(
        scale=float(scales[at]),
        examples=int(blind.sum()),
        tolerance=precision.euler_rtol,
        max_deviation=float(deviation[at]),
        worst_example=at,
        observed=float(observed[at]),
        expected=float(expected[at]),
    )


def _below_one(degree: float) -> str:
    if degree == 0:
        return (
            "F is scale-invariant (degree 0): F(αx) does not tend to F(0) as α → 0, so Integrated Gradients against "
            "zero has nothing to distribute and Σ x·∂F is 0."
        )
    return f"Degree {degree:g} is below 1: ∇F grows without bound towards the zero baseline, so it is refused."


def _checked_scales(scales: Sequence[float], where: str) -> tuple[float, ...]:
    wanted = tuple(float(alpha) for alpha in scales)
    if not wanted or not all(0 < alpha < float("inf") for alpha in wanted) or all(alpha == 1 for alpha in wanted):
        raise ValueError(f"{where}: `scales` must be finite numbers above 0, and not only 1, but are {list(scales)!r}.")
    return wanted
