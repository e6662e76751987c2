"""Brute truth: does F(αx) = αᵏF(x) hold, and is autograd's gradient that of F? Measured in float64, at many points.

Nothing here imports captum_xg, and nothing here is a proof: what holds at every point that was tried, at every scale
from 2⁻⁶⁰ to 2⁶⁰, is taken to hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Function = Callable[..., Tensor]
Inputs = tuple[Tensor, ...]

NEAR = (2.0**-10, 2.0**-4, 0.5, 2.0, 8.0, 2.0**10, 0.3717, 17.23)
FAR = (2.0**-60, 2.0**-30, 2.0**30, 2.0**60)
"""Where a small eps shows (1e-12 beside a norm), and a large bound. Values that leave float64 there are left out."""

ROUNDING = 1e-12
"""Beside numbers of about 1, less than this is nothing."""


@dataclass(frozen=True)
class Truth:
    """What a function was seen to do.

    Attributes:
        values: Whether its values scale: ``"yes"``, ``"no"``, or ``"unclear"`` (deviations neither small nor large:
            rounding magnified by cancellation, or a real but tiny offset).
        gradient: Whether autograd's gradient is that of its values: also ``"none"`` if autograd refuses, and
            ``"not finite"`` if it is NaN or infinite where the function has a derivative.
        degree: k if the values scale; None if they are zero throughout, which fits every k.
        why: The first observation against.
    """

    values: Literal["yes", "no", "unclear"]
    gradient: Literal["yes", "no", "unclear", "none", "not finite"]
    degree: float | None
    why: str = ""

    @property
    def homogeneous(self) -> bool:
        """Whether everything fits."""
        return self.values == "yes" and self.gradient == "yes"

    @property
    def disproved(self) -> bool:
        """Whether something was seen that must not be certified."""
        return self.values == "no" or (self.values == "yes" and self.gradient == "no")

    def fits(self, degree: float | None) -> bool:
        """Return whether a claim of this degree agrees; None claims that it is zero throughout."""
        if self.degree is None:
            return True
        return degree is not None and abs(degree - self.degree) < 1e-6


def truth_of(function: Function, draws: Sequence[Inputs], kinked: Sequence[Inputs] = ()) -> Truth:
    """Return what a function does.

    Args:
        function: F. It may overwrite its inputs.
        draws: Inputs at which values and gradients are looked at.
        kinked: Inputs that may lie on kinks (with zeros in them), at which only values are.
    """
    degree, values, why = _scaling(function, [*draws, *kinked])
    if values == "no":
        return Truth("no", "unclear", None, why)
    gradient, complaint = _gradients(function, draws, degree)
    return Truth(values, gradient, degree, why or complaint)


def _run(function: Function, inputs: Inputs, scale: float = 1.0) -> Tensor:
    return function(*(scale * x for x in inputs)).detach()


# --------------------------------------------------------------------------------------------------------------- values


def _scaling(function: Function, points: Sequence[Inputs]) -> tuple[float | None, Literal["yes", "no", "unclear"], str]:
    values = [_run(function, x) for x in points]
    degree = None
    for x, y in zip(points, values, strict=True):
        degree = _fitted_degree(function, x, y)
        if degree is not None:
            break
    verdict: Literal["yes", "no", "unclear"] = "yes"
    first = ""
    for x, y in zip(points, values, strict=True):
        for scale in (*NEAR, *FAR):
            scaled = _run(function, x, scale)
            if scaled.shape != y.shape:
                return None, "no", f"another shape at α = {scale:g}"
            expected = y * scale ** (degree or 0.0)
            if scale in FAR and not (_in_range(scaled) and _in_range(expected)):
                continue
            answer = _same(scaled, expected)
            if answer == "no" and (_rounding_decides(function, x, 1.0) or _rounding_decides(function, x, scale)):
                answer = "unclear"
            if answer != "yes":
                first = first or f"{answer}: α = {scale:g}, k = {degree}"
            if answer == "no":
                return degree, "no", first
            verdict = "unclear" if answer == "unclear" else verdict
    return degree, verdict, first


def _rounding_decides(function: Function, x: Inputs, scale: float) -> bool:
    """Return whether changes of the input in its last digits change the output visibly.

    They do where two numbers that are equal in exact arithmetic are compared (a number with the mean of its copies), or
    where all is cancelled but rounding errors; nowhere else, at inputs that are drawn at random.
    """
    y = _run(function, x, scale)
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        shaken = (t * (1 + 1e-14 * torch.randn(t.shape, generator=generator, dtype=torch.float64)) for t in x)
        if _same(_run(function, tuple(shaken), scale), y) == "no":
            return True
    return False


def _fitted_degree(function: Function, x: Inputs, y: Tensor) -> float | None:
    """Return the degree between two scales, None if the values are zero."""
    size = _size(y)
    if size == 0:
        return None
    scaled = _size(_run(function, x, 2.0**10))
    if scaled == 0 or not math.isfinite(scaled):
        return math.nan
    k = math.log2(scaled / size) / 10
    return next((p / q for q in range(1, 33) for p in [round(k * q)] if abs(k - p / q) < 1e-7), k) + 0.0


def _size(y: Tensor) -> float:
    finite = y[y.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _in_range(y: Tensor) -> bool:
    return bool(y.isfinite().all()) and (not y.any() or 1e-200 < float(y.abs().max()) < 1e200)


def _same(scaled: Tensor, expected: Tensor) -> Literal["yes", "no", "unclear"]:
    """Compare number by number: small ones must scale too, unless they are rounding errors."""
    if not torch.equal(scaled.isnan(), expected.isnan()):
        return "no"
    finite = ~expected.isnan() & ~expected.isinf()
    if not torch.equal(scaled[~finite].nan_to_num(), expected[~finite].nan_to_num()):
        return "no"
    scaled, expected = scaled[finite], expected[finite]
    if not scaled.numel() or torch.equal(scaled, expected):
        return "yes"
    if not scaled.isfinite().all():
        return "no"
    largest = float(torch.maximum(scaled.abs(), expected.abs()).max())
    difference = (scaled - expected).abs()
    relative = difference / torch.maximum(scaled.abs(), expected.abs()).clamp(min=1e-300)
    if float(difference.max()) <= 1e-9 * largest and not bool(
        ((relative > 1e-4) & (difference > 1e-12 * largest)).any()
    ):
        return "yes"
    if float(difference.max()) > 1e-5 * largest or bool(((relative > 1e-3) & (difference > 1e-9 * largest)).any()):
        return "no"
    return "unclear"


# ------------------------------------------------------------------------------------------------------------ gradients


def _gradients(
    function: Function, draws: Sequence[Inputs], degree: float | None
) -> tuple[Literal["yes", "no", "unclear", "none", "not finite"], str]:
    verdict: Literal["yes", "unclear"] = "yes"
    not_finite = False
    for i, inputs in enumerate(draws):
        generator = torch.Generator().manual_seed(i)
        y = _run(function, inputs)
        if not y.isfinite().all():
            verdict = "unclear"
            continue
        weights = torch.randn(y.shape, generator=generator, dtype=torch.float64)
        try:
            gradient = _autograd(function, inputs, weights)
        except RuntimeError as error:
            return "none", str(error)[:200]
        if not all(g.isfinite().all() for g in gradient):
            not_finite = True
            continue
        size = float((weights * y).abs().sum())
        euler = float(sum((x * g).sum() for x, g in zip(inputs, gradient, strict=True)))
        slack = (
            1e-7 * (size + float(sum((x * g).abs().sum() for x, g in zip(inputs, gradient, strict=True)))) + ROUNDING
        )
        if degree is not None and abs(euler - degree * float((weights * y).sum())) > 1e3 * slack:
            return "no", f"Euler's identity fails at draw {i}: {euler:g}, not {degree * float((weights * y).sum()):g}"
        for _ in range(3):
            direction = tuple(torch.randn(x.shape, generator=generator, dtype=torch.float64) for x in inputs)
            answer, seen = _along(function, inputs, direction, gradient, weights)
            if answer == "no":
                return "no", f"draw {i}: {seen}"
            verdict = "unclear" if answer == "unclear" else verdict
    if not_finite:
        return "not finite", "the gradient is NaN or infinite where F is finite"
    return verdict, ""


def _autograd(function: Function, inputs: Inputs, weights: Tensor) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        leaves = tuple(x.detach().clone().requires_grad_() for x in inputs)
        y = function(*(leaf.clone() for leaf in leaves))
        if not y.requires_grad:
            return tuple(torch.zeros_like(x) for x in inputs)
        gradients = torch.autograd.grad((weights * y).sum(), leaves, allow_unused=True)
    return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(inputs, gradients, strict=True))


def _along(
    function: Function, inputs: Inputs, direction: Inputs, gradient: tuple[Tensor, ...], weights: Tensor
) -> tuple[Literal["yes", "no", "unclear"], str]:
    """Compare with central differences at two steps, which must agree with each other to count."""
    slope = float(sum((g * d).sum() for g, d in zip(gradient, direction, strict=True)))
    bound = float(sum((g * d).abs().sum() for g, d in zip(gradient, direction, strict=True)))
    estimates, noise = [], ROUNDING
    for h in (1e-5, 3e-6, 1e-6):
        up, down = (
            _run(function, tuple(x + sign * h * d for x, d in zip(inputs, direction, strict=True))) for sign in (1, -1)
        )
        if not (up.isfinite().all() and down.isfinite().all()):
            return "unclear", "not finite beside the point"
        estimates.append(float((weights * (up - down)).sum()) / (2 * h))
        noise = max(noise, 1e-13 * float((weights * up).abs().sum()) / h)
    spread = max(estimates) - min(estimates)
    size = max(bound, *map(abs, estimates))
    if spread > 1e-3 * size + noise:
        return "unclear", "a kink or jump"
    off = abs(estimates[-1] - slope)
    if off <= 1e-4 * size + noise + spread:
        return "yes", ""
    if off > 1e-2 * size + 10 * noise + 10 * spread:
        return "no", f"autograd's slope is {slope:g}, that of the values {estimates[-1]:g}"
    return "unclear", "neither equal nor clearly different"
