"""The second look at a suspicion: values on the ray, and the gradient at a generic point.

On the ray powers of two round nothing. A generic point is near the example and has no ties among activations and none
at zero, where a gradient is one of several and differences find another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from captum_xg.homogeneity.scaling.checks import format_scale
from captum_xg.homogeneity.scaling.fit import power
from captum_xg.homogeneity.scaling.footprints import OperationNames, first_difference, footprint_of, left_range
from captum_xg.homogeneity.scaling.passes import (
    Slopes,
    directions_of,
    fresh_handles,
    step_of,
    values_of,
    vector_of,
)
from captum_xg.homogeneity.scaling.subject import Subject


def contradiction(subject: Subject, exponents: Sequence[int], tolerance: float, *, off_ray: bool) -> str:
    """Return what is wrong on a second, exact look; ``""`` if nothing is.

    Args:
        subject: F and the claim.
        exponents: Logarithms of the scales.
        tolerance: The largest relative deviation of values that counts as rounding.
        off_ray: Whether the gradient is looked at.
    """
    exact = _wider(subject) or subject
    if found := _values_off(exact, exponents, tolerance) or _operations_differ(subject, exponents):
        return found
    return _gradient_off(exact, subject.gradient[0]) if subject.gradient is not None and off_ray else ""


def _wider(subject: Subject) -> Subject | None:
    """Return the same in float64, if F runs there and gives what it gave."""
    dtypes = {x.dtype for x in subject.inputs}
    # A cast inside of F would be there in a copy as well.
    if dtypes == {torch.float64} or not subject.inner <= dtypes or (run := subject.wider()) is None:
        return None
    inputs = tuple(x.detach().double() for x in subject.inputs)
    try:
        with torch.enable_grad():
            outputs = [y.detach() for y in run(fresh_handles(inputs))]
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
        if there.shape == here.shape and left_range(footprint, other):
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


def _gradient_off(subject: Subject, weights: Sequence[Tensor]) -> str:
    """Return how ∇F is not the gradient of F at a point near the example without its ties and zeros of activations."""
    dtype = subject.precision.dtype
    h = step_of(dtype)
    moved = directions_of(subject.inputs, 7)
    inputs = tuple(x.detach() + 0.02 * v for x, v in zip(subject.inputs, moved, strict=True))
    leaves = tuple(x.detach().requires_grad_() for x in inputs)
    try:
        with torch.enable_grad():
            outputs = subject.run(tuple(leaf.clone() for leaf in leaves))
            chosen = [c.to(y) for c, y in zip(weights, outputs, strict=True)]
            taking_part = [(y, c) for y, c in zip(outputs, chosen, strict=True) if y.requires_grad]
            gradients = torch.autograd.grad(
                [y for y, _ in taking_part], leaves, [c for _, c in taking_part], allow_unused=True
            )
    except Exception:  # it ran before, at the example
        return ""
    c, here = vector_of(chosen), vector_of([y.detach() for y in outputs])
    terms = [
        (x.detach().double(), g.detach().double()) for x, g in zip(inputs, gradients, strict=True) if g is not None
    ]
    if not bool(here.isfinite().all()) or not all(bool(g.isfinite().all()) for _, g in terms):
        return ""
    size = max(sum(float((x * g).abs().sum()) for x, g in terms), float(here.abs().max()))
    spread = math.sqrt(sum(float((x * g).square().sum()) for x, g in terms))
    along_x, claimed = sum(float((x * g).sum()) for x, g in terms), (subject.degree or 0.0) * float(c @ here)
    if subject.degree is not None and abs(along_x - claimed) > 16 * torch.finfo(dtype).eps ** 0.5 * size:
        return f"Euler's identity fails: Σ x·∂F is {along_x:.6g} where kF = {claimed:.6g} is claimed"
    found = []
    for number in (2, 3):
        directions = directions_of(inputs, number)
        seen = []
        for step in (h, -h):
            there = values_of(subject.run, tuple(x + step * v for x, v in zip(inputs, directions, strict=True)))
            if there is None or there.shape != here.shape or not bool(there.isfinite().all()):
                return ""
            seen.append(float(c @ (there - here)) / step)
        along = sum(float((v.double() * g).sum()) for v, g in zip(directions, gradients, strict=True) if g is not None)
        found.append(Slopes(seen, along, spread, size, dtype))
    if not all(slopes.off for slopes in found):
        return ""
    return f"along a random direction F changes by {found[0].mean:.6g}, and its gradient says {found[0].along:.6g}"
