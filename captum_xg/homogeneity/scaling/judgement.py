"""Verdicts on trials: which degree they show, and how far they are from the one that is tested."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg._core.euler import euler_sums
from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg.homogeneity.scaling.checks import EulerCheck, ScaleCheck, is_power_of_two
from captum_xg.homogeneity.scaling.fit import shown_degrees, simple_degree
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.trials import Trials, scale_inputs


def euler_terms(evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    """Return Σ x·∂F and Σ|x·∂F| per example, as float64 on the CPU.

    The second is the size of the terms that F is a sum of: the yardstick for rounding where they nearly cancel.
    """
    if evaluation.sums is not None:
        return evaluation.sums[1], evaluation.sums[2]
    pairs = list(zip(evaluation.inputs, evaluation.gradients, strict=True))
    n, wide = len(evaluation.values), torch.zeros((), dtype=torch.float64)
    terms = (x.detach().to(torch.promote_types(x.dtype, torch.float32)) * gradient.detach() for x, gradient in pairs)
    total, size = euler_sums(terms, n, wide)
    if not bool(size.isfinite().all()):
        total, size = euler_sums((_rows(x) * _rows(gradient) for x, gradient in pairs), n, wide)
    return total, size


def estimate_degree(
    trials: Trials, values: Tensor, magnitude: Tensor, precision: Precision
) -> tuple[float | None, tuple[str, ...]]:
    """Return the one degree that all examples and scales show, if there is one, and notes.

    Rounding moves each single estimate within an interval, which is narrow for far scales and where the terms of F do
    not cancel. There is one degree if all the intervals have a point in common.
    """
    relevant = trials.usable & (trials.scales != 1) & ((values != 0) | (trials.observed != 0))
    ratio = trials.observed / values
    if not relevant.any() or not bool((torch.isfinite(ratio) & (ratio > 0))[relevant].all()):
        return None, ()
    degrees = shown_degrees(values, trials.observed, trials.scales)
    steps = torch.log2(trials.scales).abs()
    slack = torch.log2(1 + 4 * precision.rtol * magnitude / values.abs()) / steps + 1e-9
    low = torch.where(relevant, degrees - slack, -torch.inf).amax(0)
    high = torch.where(relevant, degrees + slack, torch.inf).amin(0)
    if not bool((low <= high).all()):
        return None, ()
    if float(low.max()) > float(high.min()):
        shown = degrees[relevant]
        return None, (
            "Each example shows one degree, but not all the same: "
            f"from {float(shown.min()):.4g} to {float(shown.max()):.4g}.",
        )
    estimate = float(degrees.flatten()[torch.where(relevant, slack, torch.inf).argmin()])
    # Within what all trials allow, and not only the one that is told from.
    lowest, highest = float(low.max()) - 1e-4, float(high.min()) + 1e-4
    nice = simple_degree(estimate, max(highest - estimate, estimate - lowest))
    return (nice if lowest <= nice <= highest else estimate), ()


def judge_scales(
    trials: Trials, values: Tensor, magnitude: Tensor, degree: float, precision: Precision
) -> tuple[ScaleCheck, ...]:
    """Compare F(αx) with αᵏF(x), one result per scale that was used, smallest first."""
    growth = trials.scales**degree
    expected = values * growth
    difference = (trials.observed - expected).abs()
    difference = torch.where(difference <= precision.last_digit * (1 + growth), 0.0, difference)
    deviation = _relative(difference, magnitude * growth)
    deviation = torch.where(deviation.isnan(), torch.inf, deviation)
    checks = []
    for alpha in sorted(set(trials.scales[trials.usable].tolist())):
        here = trials.usable & (trials.scales == alpha)
        tolerance = precision.rtol if is_power_of_two(alpha) else precision.inexact_rtol
        worst = _worst(torch.where(here, deviation, -1.0), trials.observed, expected)
        checks.append(ScaleCheck(alpha, int(here.any(0).sum()), tolerance, *worst))
    return tuple(checks)


def judge_euler(total: Tensor, values: Tensor, magnitude: Tensor, degree: float, precision: Precision) -> EulerCheck:
    """Compare Σ x·∂F with kF."""
    expected = degree * values
    difference = (total - expected).abs()
    difference = torch.where(difference <= degree * precision.last_digit, 0.0, difference)
    deviation = _relative(difference, torch.maximum(magnitude, expected.abs()))
    return EulerCheck(precision.euler_rtol, *_worst(deviation, total, expected))


def judge_gradients(
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
        rows, g, h = map(_rows, (x, here, moved))
        difference += (rows * (h - growth[:, None] * g)).abs().sum(1)
        observed += (rows * h).abs().sum(1)
    expected = growth * magnitude
    worst = _worst(torch.where(blind, _relative(difference, expected), -1.0), observed, expected)
    return ScaleCheck(float(scales[worst[1]]), int(blind.sum()), precision.inexact_rtol, *worst)


def _worst(deviation: Tensor, observed: Tensor, expected: Tensor) -> tuple[float, int, float, float]:
    """Return the largest deviation, its example (the first of equals), and both numbers there; from (N,) or (P, N)."""
    n = deviation.shape[-1]
    by_example, seen, due = (x.reshape(-1, n).T.flatten() for x in (deviation, observed, expected.expand_as(observed)))
    at = int(by_example.argmax())
    return float(by_example[at]), at * n // len(by_example), float(seen[at]), float(due[at])


def _relative(difference: Tensor, size: Tensor) -> Tensor:
    """Return differences in units of a size, 0 for none at all, also where the size is 0."""
    return torch.where(difference == 0, 0.0, difference / size)


def _rows(x: Tensor) -> Tensor:
    return x.detach().reshape(len(x), -1).to("cpu", torch.float64)
