"""The second look at a suspicion: values on the ray, and the gradient at a generic point.

On the ray powers of two round nothing. A generic point is near the example and has no ties among activations and none
at zero, where a gradient is one of several and differences find another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from captum_xg.homogeneity.scaling.checks import format_scale
from captum_xg.homogeneity.scaling.fit import power
from captum_xg.homogeneity.scaling.footprints import OperationNames, first_difference, footprint_of, left_range
from captum_xg.homogeneity.scaling.passes import (
    Slopes,
    directions_of,
    handles_of,
    step_of,
    values_of,
    vector_of,
)
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.subject import Subject, weighted_gradient


def contradiction(subject: Subject, exponents: Sequence[int], tolerance: float) -> str:
    """Return what is wrong on a second, exact look; ``""`` if nothing is.

    Args:
        subject: F and the claim.
        exponents: Logarithms of the scales.
        tolerance: The largest relative deviation of values that counts as rounding.
    """
    # Of F itself: a copy in float64 need not share what was not seen, such as memory that NumPy reads as well.
    if found := _values_off(subject, exponents, tolerance) or _operations_differ(subject, exponents):
        return found
    if subject.gradient is None:
        return ""
    exact = _wider(subject) or subject
    if exact is not subject and (found := _gradient_off(subject, subject.gradient[0], slopes=False)):
        return found
    return _gradient_off(exact, subject.gradient[0], slopes=torch.finfo(exact.precision.dtype).eps < 1e-4)


def _wider(subject: Subject) -> Subject | None:
    """Return the same in float64, if F runs there and gives what it gave."""
    dtypes = {x.dtype for x in subject.inputs}
    # A cast inside of F would be there in a copy as well.
    if dtypes == {torch.float64} or not subject.inner <= dtypes or (run := subject.wider()) is None:
        return None
    inputs = tuple(x.detach().double() for x in subject.inputs)
    try:
        with torch.enable_grad():
            outputs = [y.detach() for y in run(handles_of(inputs)[1])]
    except Exception:  # constants of another dtype, or what cannot be computed in this one
        return None
    here, there = vector_of(subject.outputs), vector_of(outputs)
    same = here.shape == there.shape and bool(
        ((here - there).abs() <= 1e-2 * there.abs().max()).all() & there.isfinite().all()
    )
    return replace(subject, run=run, inputs=inputs, outputs=outputs, inner=frozenset()) if same else None


def _values_off(subject: Subject, exponents: Sequence[int], tolerance: float) -> str:
    """Return at which scale F(αx) is not αᵏF(x), on the ray itself."""
    here = vector_of(subject.outputs)
    footprint = None
    for exponent in exponents:
        scale = 2.0**exponent
        points = tuple(x.detach() * scale for x in subject.inputs)
        there = values_of(subject.run, points)
        if there is None or not bool(there.isfinite().all()):
            continue
        expected = here * power(scale, 1.0 if subject.degree is None else subject.degree)
        size = max(float(expected.abs().max()), torch.finfo(torch.float64).tiny)
        if there.shape == here.shape and float((there - expected).abs().max()) <= tolerance * size:
            continue
        footprint = footprint or footprint_of(subject.run, subject.inputs)
        other = footprint_of(subject.run, points)
        if there.shape == here.shape and left_range(footprint, other, scale):
            continue
        i = None if there.shape != here.shape else int((there - expected).abs().argmax())
        seen = (
            f"F(αx) has {there.numel()} numbers and F(x) {here.numel()}"
            if i is None
            else f"F(αx) is {float(there[i]):.6g} where {float(expected[i]):.6g} is claimed"
        )
        return f"at α = {format_scale(scale)} {seen}{_where(subject, points, first_difference(footprint, other))}"
    return ""


def _operations_differ(subject: Subject, exponents: Sequence[int]) -> str:
    """Return at which scale other operations run than at another, on the ray itself: a branch that was not seen."""
    first: list[object] | None = None
    for exponent in exponents:
        names: list[object] = []
        with OperationNames(names):
            values_of(subject.run, tuple(x.detach() * 2.0**exponent for x in subject.inputs))
        if first is not None and names != first:
            i = next((i for i, (a, b) in enumerate(zip(first, names)) if a != b), min(len(first), len(names)))  # noqa: B905
            ran = [str(each[i]) if i < len(each) else "nothing more" for each in (first, names)]
            scales = format_scale(2.0 ** exponents[0]), format_scale(2.0**exponent)
            return f"operation {i + 1} is {ran[0]} at α = {scales[0]} and {ran[1]} at α = {scales[1]}"
        first = names
    return ""


def _where(subject: Subject, points: tuple[Tensor, ...], number: int | None) -> str:
    if number is None:
        return ""
    found = footprint_of(subject.run, points, subject.names, wanted=number)
    if found.site is None:
        return ""
    module = f" of {found.site.module} ({found.site.type})" if found.site.module else ""
    return f"; the first operation that differs is {found.site.op}{module} [{found.site.location}]"


def _gradient_off(subject: Subject, weights: Sequence[Tensor], *, slopes: bool) -> str:
    """Return how ∇F is not the gradient of F at a point near the example without its ties and zeros of activations.

    By Euler's identity, and by slopes if those are wanted.
    """
    moved = directions_of(subject.inputs, 7)
    inputs = tuple(x.detach() + 0.02 * v for x, v in zip(subject.inputs, moved, strict=True))
    leaves, handles = handles_of(inputs)
    try:
        with torch.enable_grad():
            outputs = subject.run(handles)
            chosen = [c.to(y) for c, y in zip(weights, outputs, strict=True)]
            gradients = weighted_gradient(outputs, leaves, chosen)
    except Exception:  # it ran before, at the example
        return ""
    c, here = vector_of(chosen), vector_of([y.detach() for y in outputs])
    terms = [x.double() * g.detach().double() for x, g in zip(inputs, gradients, strict=True)]
    if not bool(here.isfinite().all()) or not all(bool(each.isfinite().all()) for each in terms):
        return ""
    size = max(sum(float(each.abs().sum()) for each in terms), float(here.abs().max()))
    along_x, degree = sum(float(each.sum()) for each in terms), subject.degree
    claimed = (degree or 0.0) * float(c @ here)
    euler = degree is not None and not _underflows(gradients, subject.precision.dtype)
    if euler and abs(along_x - claimed) > _euler_tolerance(subject.precision) * size:
        return f"Euler's identity fails: Σ x·∂F is {along_x:.6g} where kF = {claimed:.6g} is claimed"
    spread = math.sqrt(sum(float(each.square().sum()) for each in terms))
    return _slopes_off(subject, _Point(inputs, gradients, c, here, size, spread)) if slopes else ""


def _euler_tolerance(precision: Precision) -> float:
    """Return how far Σ x·∂F may be from kF: float32 loses digits where terms cancel inside of F."""
    exact = 2 * precision.euler_rtol
    return max(exact, 16 * torch.finfo(torch.float32).eps ** 0.5) if precision.dtype == torch.float32 else exact


def _underflows(gradients: Sequence[Tensor], dtype: torch.dtype) -> bool:
    """Return whether gradients are so small that those on the way to them may have underflowed, as float16's do."""
    limits = torch.finfo(dtype)
    return max(float(g.abs().max()) if g.numel() else 0.0 for g in gradients) * limits.eps < limits.tiny


@dataclass(frozen=True)
class _Point:
    """A point with what is known of F there.

    Attributes:
        inputs: Where.
        gradients: ∇(c·F).
        weights: c, for every output number.
        here: F.
        size: Σ|x·∂F|.
        spread: The root of the sum of squares of x·∂F.
    """

    inputs: Sequence[Tensor]
    gradients: Sequence[Tensor]
    weights: Tensor
    here: Tensor
    size: float
    spread: float


def _slopes_off(subject: Subject, point: _Point) -> str:
    """Return how c·F changes otherwise than its gradient says, along each of two directions."""
    dtype, compared = subject.precision.dtype, []
    for number in (2, 3):
        directions = directions_of(point.inputs, number)
        along = sum(float((v.double() * g.double()).sum()) for v, g in zip(directions, point.gradients, strict=True))
        for h in (step_of(dtype), 4 * step_of(dtype)):
            seen = [slope for step in (h, -h) if (slope := _slope(subject, point, directions, step)) is not None]
            if len(seen) < 2:
                return ""
            compared.append(Slopes(seen, along, point.spread, point.size, dtype))
        # Rounding of terms that cancel inside of F is another number at another step; a wrong gradient is the same.
        one, other = compared[-2:]
        if not (one.off and other.off and abs(one.mean - other.mean) < 0.5 * abs(other.mean - along)):
            return ""
    slopes = compared[1]
    return f"along a random direction F changes by {slopes.mean:.6g}, and its gradient says {slopes.along:.6g}"


def _slope(subject: Subject, point: _Point, directions: Sequence[Tensor], step: float) -> float | None:
    """Return the one-sided slope of c·F, None if F is not finite there."""
    moved = tuple(x + step * v for x, v in zip(point.inputs, directions, strict=True))
    there = values_of(subject.run, moved)
    if there is None or there.shape != point.here.shape or not bool(there.isfinite().all()):
        return None
    return float(point.weights @ (there - point.here)) / step
