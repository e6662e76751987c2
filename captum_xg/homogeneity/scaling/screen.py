r"""The screen of a confrontation: four more passes of F, chosen so that most of what a proof can miss shows in one.

Two are far away on both sides along the ray of the example x, each a little off it: with v = x∘r for random r and c a
random weight for every output, of its sign,

.. math:: c·α^{-k} F(α(x ± hv)) ≈ c·F(x) ± h\, ∇(c·F)(x)·v,

which confronts values and gradient at once. α is a power of two there, which rounds nothing. The two others are of one
point z on another ray, x with random signs: α₁⁻ᵏF(α₁z) beside α₂⁻ᵏF(α₂z). Their α are drawn between the near and the
far, and are no powers of two, so that bands of magnitudes and tests of mantissas show as well. What is drawn depends on
the example alone: the same example is confronted with the same numbers, and no random state but its own is used.

What must never happen: F is judged by points it takes no part of. Where it does not run at z, x takes its place.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captum_xg._core.contents import bytes_of
from captum_xg._core.euler import summed_terms
from captum_xg.homogeneity.scaling.fit import power
from captum_xg.homogeneity.scaling.footprints import OperationNames
from captum_xg.homogeneity.scaling.passes import Slopes, directions_of, steps_of, values_of, vector_of
from captum_xg.homogeneity.scaling.subject import Subject

_NEAR = 8.0
"""The largest |log₂ α| on another ray: what is far is seen on that of the example."""


@dataclass
class Ray:
    """A point, and the scales that F was run at along its ray.

    Attributes:
        inputs: The point.
        scales: α.
        operations: What ran, as far as it was finite: the same everywhere, or there is a branch that was not seen.
    """

    inputs: tuple[Tensor, ...]
    scales: list[float] = field(default_factory=list)
    operations: set[tuple[object, ...]] = field(default_factory=set)


class Screen:
    """Four passes, and what they say.

    Attributes:
        rays: Where F was run: along x, and then along z.
        unused: Scales at which F could not be run, or is not finite.
        resolved: The largest error of a slope that would not be noticed, relative to what slopes are by chance.
    """

    def __init__(self, subject: Subject, here: Tensor) -> None:
        self.rays = [Ray(tuple(x.detach() for x in subject.inputs))]
        self.unused: list[float] = []
        self.resolved = 0.0
        precision, degree = subject.precision, max(abs(subject.degree or 1.0), 1.0)
        # What overflows shows by itself, and gives way to a nearer scale; what underflows has only lost digits.
        self._far = {1: max(precision.exponent, 10), -1: precision.exponent_for(degree)}
        self._step = steps_of(precision.dtype)[0] if subject.gradient and subject.resolves_slopes else 0.0
        self._subject = subject
        self._here = here
        weights, gradients = subject.gradient or ([], [])
        self._weights = vector_of(weights)
        self._gradients = [g.detach().double() for g in gradients]
        terms = [(x.detach() * g).flatten() for x, g in zip(subject.inputs, self._gradients, strict=False)]
        self._along_x, size = summed_terms(terms)
        # The sum of the terms that c·F is a sum of is the yardstick for rounding where they nearly cancel.
        self._size = max(float(here.abs().max()), size)
        self._spread = math.sqrt(sum(float(each.square().sum()) for each in terms))
        self._tolerance = (precision.inexact_rtol + 64 * self._step) * self._size
        if not self._step:  # on the ray powers of two round nothing
            self._tolerance = 4 * precision.rtol * float(here.abs().max())

    def suspicion(self) -> bool:
        """Return whether anything looks wrong: values, Euler's identity, slopes, or which operations run."""
        suspected = self._euler_off()
        suspected |= self._far_off()
        suspected |= self._elsewhere_off()
        return suspected or any(len(ray.operations) > 1 for ray in self.rays)

    def _euler_off(self) -> bool:
        gradient, degree = self._subject.gradient, self._subject.degree
        if gradient is None or degree is None:
            return False
        claimed = degree * float(self._weights @ self._here)
        return abs(self._along_x - claimed) > self._subject.precision.euler_rtol * self._size

    def _far_off(self) -> bool:
        """Return whether values or slopes are off at far scales, or at the farthest that F can be run at."""
        ray, suspected, slopes = self.rays[0], False, []
        directions = directions_of(ray.inputs, 0)
        for h, sign in ((self._step, 1), (-self._step, -1)):
            exponent, there = self._far[sign], None
            moved = [x + h * v for x, v in zip(ray.inputs, directions, strict=True)] if h else ray.inputs
            while exponent and (there := self._at(ray, moved, 2.0 ** (sign * exponent))) is None:
                exponent //= 2
            if there is None:
                continue
            if self._differs(there):
                suspected = True
            elif h:
                slopes.append(float(self._weights @ (there - self._here)) / h)
        if slopes:
            along = sum(float((v.double() * g).sum()) for v, g in zip(directions, self._gradients, strict=True))
            compared = Slopes(slopes, along, self._spread, self._size, self._subject.precision.dtype, self._step)
            suspected |= compared.off
            self.resolved = compared.allowed / self._spread if self._spread else 0.0
        return suspected

    def _elsewhere_off(self) -> bool:
        """Return whether F is another multiple at two scales of a point on another ray."""
        generator = torch.Generator().manual_seed(_seed_of(self.rays[0].inputs))
        signs = [torch.randint(0, 2, x.shape, generator=generator) * 2 - 1 for x in self._subject.inputs]
        z = tuple(x * s.to(x.device, x.dtype) for x, s in zip(self.rays[0].inputs, signs, strict=True))
        most = min(max(self._far[-1] / 2, 1.0), _NEAR)
        up, down, apart = torch.rand(3, generator=generator).tolist()
        up, down = 1 + (most - 1) * up, 1 + (most - 1) * down
        # About half an octave apart, so that what tests mantissas is likely to see two of them.
        down = math.ceil(down + up) - up + 0.35 + 0.3 * apart
        scales = 2.0**up, 2.0**-down
        # F may take no negative numbers.
        for point in (z, self.rays[0].inputs):
            ray = Ray(point)
            one, other = (self._at(ray, point, scale) for scale in scales)
            if one is not None and other is not None:
                self.rays.append(ray)
                self.unused = [scale for scale in self.unused if scale not in scales]
                size = max(float(one.abs().max()), float(other.abs().max()))
                tolerance = self._subject.precision.inexact_rtol * size
                return one.shape != other.shape or float((one - other).abs().max()) > tolerance
        return False

    def _differs(self, there: Tensor) -> bool:
        return there.shape != self._here.shape or float((there - self._here).abs().max()) > self._tolerance

    def _at(self, ray: Ray, points: Sequence[Tensor], scale: float) -> Tensor | None:
        """Return α⁻ᵏF(αx) near a point of a ray, None if that is not finite."""
        names: list[object] = []
        with OperationNames(names):
            there = values_of(self._subject.run, tuple(x * scale for x in points))
        if there is None or not bool(there.isfinite().all()):
            self.unused.append(scale)
            return None
        ray.scales.append(scale)
        ray.operations.add(tuple(names))
        return there / power(scale, 1.0 if self._subject.degree is None else self._subject.degree)


def _seed_of(inputs: Sequence[Tensor]) -> int:
    """Return a number that is another one for each example."""
    seed = 0
    for x in inputs:
        seed = zlib.crc32(bytes_of(x), seed)
    return seed
