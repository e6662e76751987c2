"""The gradient of F confronted at a generic point: near the example, without ties or zeros among activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._core.euler import summed_terms
from captum_xg.homogeneity.scaling.fit import power
from captum_xg.homogeneity.scaling.passes import Slopes, directions_of, handles_of, steps_of, values_of, vector_of
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.subject import Subject, weighted_gradient

_NOISELESS = 2.0**-14
"""The largest rounding, relative to Σ|x·∂F|, of what is half precision in a part that the output does not depend on."""


def gradient_off(subject: Subject, weights: Sequence[Tensor], *, slopes: bool) -> tuple[str, float | None]:
    """Return how ∇F is not the gradient of F at a point near the example, and how well slopes were resolved.

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
        return "", None
    c, here = vector_of(chosen), vector_of([y.detach() for y in outputs])
    terms = [x.double() * g.detach().double() for x, g in zip(inputs, gradients, strict=True)]
    if not bool(here.isfinite().all()) or not all(bool(each.isfinite().all()) for each in terms):
        return "", None
    along_x, size = summed_terms(terms)
    size, degree = max(size, float(here.abs().max())), subject.degree
    claimed = (degree or 0.0) * float(c @ here)
    euler = degree is not None and not _underflows(gradients, here, subject.precision.dtype)
    if euler and abs(along_x - claimed) > _euler_tolerance(subject.precision) * size:
        return f"Euler's identity fails: Σ x·∂F is {along_x:.6g} where kF = {claimed:.6g} is claimed", None
    spread = math.sqrt(sum(float(each.square().sum()) for each in terms))
    if not slopes or _underflows(gradients, here, subject.precision.dtype):
        return "", None
    return _slopes_off(subject, _Point(inputs, gradients, c, here, size, spread))


def _euler_tolerance(precision: Precision) -> float:
    """Return how far Σ x·∂F may be from kF: float32 loses digits where terms cancel inside of F."""
    exact = 2 * precision.euler_rtol
    return max(exact, 16 * torch.finfo(torch.float32).eps ** 0.5) if precision.dtype == torch.float32 else exact


def _underflows(gradients: Sequence[Tensor], here: Tensor, dtype: torch.dtype) -> bool:
    """Return whether gradients, or values on the way to them, may have underflowed, as float16's do."""
    limits = torch.finfo(dtype)
    largest = max((float(g.abs().max()) for g in gradients if g.numel()), default=0.0)
    return largest * limits.eps < limits.tiny or float(here.abs().max()) * limits.eps < limits.tiny


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


def _slopes_off(subject: Subject, point: _Point) -> tuple[str, float | None]:
    """Return how c·F changes otherwise than its gradient says, along each of two directions, and what is resolved."""
    dtype, said, resolved = subject.precision.dtype, "", None
    noise = None if subject.resolves_slopes else _noise(subject, point)
    # Rounded to half precision on the way: what two steps have in common may be that nothing moves.
    if noise is not None and noise > _NOISELESS * point.size:
        return "", None
    for number in (2, 3):
        directions, compared = directions_of(point.inputs, number), list[Slopes]()
        along = sum(float((v.double() * g.double()).sum()) for v, g in zip(directions, point.gradients, strict=True))
        for h in steps_of(dtype):
            seen = [slope for step in (h, -h) if (slope := _slope(subject, point, directions, step)) is not None]
            if len(seen) < 2:
                return "", resolved
            slopes = Slopes(seen, along, point.spread, point.size, dtype, h)
            compared.append(slopes)
            if resolved is None:
                resolved = slopes.allowed / point.spread if point.spread else 0.0
            off = slopes.off and not _rounds(compared) if noise is None else _agree(compared, noise)
            if not off:
                return "", resolved
        slopes = compared[0]
        said = f"along a random direction F changes by {slopes.mean:.6g}, and its gradient says {along:.6g}"
    return said, resolved


def _rounds(compared: Sequence[Slopes]) -> bool:
    """Return whether slopes at several steps differ from the gradient by something else each time.

    Rounding, as of terms that cancel inside of F, is another number at another step; a wrong gradient is the same.
    """
    first, last = compared[0], compared[-1]
    return abs(first.mean - last.mean) >= 0.5 * abs(last.mean - last.along)


def _agree(compared: Sequence[Slopes], noise: float) -> bool:
    """Return whether slopes at several steps agree with each other, and not with the gradient.

    How far they are apart says what rounding and curvature take.
    """
    means = [slopes.mean for slopes in compared]
    apart, last = max(means) - min(means), compared[-1]
    allowed = 0.05 * last.spread + 4 * apart + 4 * noise / last.step
    off = min(abs(mean - last.along) for mean in means) > allowed
    return off and not (len(compared) > 1 and last.one_sided)


def _noise(subject: Subject, point: _Point) -> float:
    """Return by how much c·F, made comparable, changes along the ray: its rounding, if it is homogeneous there."""
    changes = []
    for scale in (1.09375, 1.3125, 0.859375):
        there = values_of(subject.run, tuple(x * scale for x in point.inputs))
        if there is None or there.shape != point.here.shape:
            return math.inf
        normed = there / power(scale, 1.0 if subject.degree is None else subject.degree)
        changes.append(abs(float(point.weights @ (normed - point.here))))
    return math.inf if any(map(math.isnan, changes)) else max(changes)


def _slope(subject: Subject, point: _Point, directions: Sequence[Tensor], step: float) -> float | None:
    """Return the one-sided slope of c·F, None if F is not finite there."""
    moved = tuple(x + step * v for x, v in zip(point.inputs, directions, strict=True))
    there = values_of(subject.run, moved)
    if there is None or there.shape != point.here.shape or not bool(there.isfinite().all()):
        return None
    return float(point.weights @ (there - point.here)) / step
