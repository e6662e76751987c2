r"""The confrontation of a proof with numbers: what it claims about one example, and what F gives there.

A proof rests on what an observer saw, and an observer inside of an open Python world cannot see everything. Numbers do
not depend on seeing. So before a certificate is handed out, F runs at four scales, far and near, and at each a
little off the ray: with v = x∘r for random r and c a random weight for every output, of its sign,

.. math:: c·α^{-k} F(α(x + hv)) ≈ c·F(x) + h\, ∇(c·F)(x)·v,

which confronts the values *and* the gradient, at the price of one backward and four forward passes; Euler's identity
∇(c·F)·x = k·c·F costs a sum. What looks wrong is only suspected: it may be a kink within reach of h, or a tie. It is
then looked at again, exactly: the values on the ray, where powers of two round nothing, and the gradient around a
point without ties, in float64 if the model can be copied into it. Only what is wrong there, too, is a contradiction.

Example: F reads memory through NumPy and doubles its output for large inputs. Every operation that is seen scales;
F(2¹⁶x) is 2¹⁷F(x); there is no certificate.

What must never happen: a contradiction by an accident of the dtype (an intermediate value that underflows), or none
because F cannot be run. Where it cannot, the certificate says with which scales it was confronted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from captum_xg._core.text import displayed
from captum_xg.homogeneity.scaling.checks import format_scale
from captum_xg.homogeneity.scaling.fit import power
from captum_xg.homogeneity.scaling.footprints import OperationNames
from captum_xg.homogeneity.scaling.passes import Slopes, directions_of, step_of, values_of, vector_of
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.second_look import contradiction
from captum_xg.homogeneity.scaling.subject import Subject

_USELESS = 0.3
"""A larger error of slopes that would not be noticed makes them no confrontation."""


@displayed
@dataclass(frozen=True)
class Confrontation:
    """What a proof was confronted with, and what contradicts it.

    Attributes:
        scales: The α at which F ran on the example, and gave finite numbers.
        tolerance: The largest relative deviation of F(αx) from αᵏF(x) that counts as rounding.
        euler: The largest deviation of Σ x·∂F from kF, relative to Σ|x·∂F|, that counts as rounding; None where F
            gives no gradient to speak of.
        differences: The largest error of ∇F along a random direction that would not be noticed, relative to the root of
            Σ(x·∂F)², which such slopes are by chance; None where F gives no gradient to speak of, or the dtype is too
            coarse to take differences in.
        contradiction: What speaks against the proof, ``""`` if nothing does.
    """

    scales: tuple[float, ...]
    tolerance: float
    euler: float | None = None
    differences: float | None = None
    contradiction: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the proof."""
        return not self.contradiction

    def __str__(self) -> str:
        at = ", ".join(map(format_scale, self.scales)) or "none"
        text = f"confronted with the example: F(αx) at α = {at}, to {self.tolerance:.0e}"
        if self.euler is None:
            return f"{text}; no gradient to confront"
        text = f"{text}; ∇F by Euler's identity, to {self.euler:.0e}"
        if self.differences is None or self.differences > _USELESS:
            return f"{text} (slopes are not resolved in this precision and size)"
        return f"{text}, and by slopes along two random directions, to {self.differences:.0e}"


def confront(subject: Subject) -> Confrontation:
    """Return what F gives beside what is claimed of it, each suspicion looked at twice."""
    precision = subject.precision
    eps = torch.finfo(precision.dtype).eps
    tolerance = precision.inexact_rtol
    # Half precision has no step between its rounding and the curvature of F.
    differences = subject.gradient is not None and eps < 1e-4
    result = Confrontation((), tolerance, None if subject.gradient is None else precision.euler_rtol)
    here = vector_of(subject.outputs)
    if here.numel() == 0 or not bool(here.isfinite().all()):
        return result
    screen = _Screen(subject, precision, here, differences=differences)
    suspected = screen.suspicion()
    resolved = screen.resolved if differences else None
    result = replace(result, scales=tuple(sorted(screen.scales)), differences=resolved)
    # Half precision resolves no slopes; a copy in float64 does, if there can be one.
    if not suspected and (differences or subject.gradient is None):
        return result
    return replace(result, contradiction=contradiction(subject, screen.exponents, tolerance))


class _Screen:
    """Four passes at scaled points a little off the ray.

    Attributes:
        scales: Those that F could be run at.
        exponents: Logarithms of those that are tried, in pairs on both sides of 1.
        step: h; 0 to stay on the ray.
        resolved: The largest error of a slope that would not be noticed, relative to what slopes are by chance.
    """

    def __init__(self, subject: Subject, precision: Precision, here: Tensor, *, differences: bool) -> None:
        self.scales: list[float] = []
        self.resolved = 0.0
        self.step = step_of(precision.dtype) if differences else 0.0
        far = precision.exponent_for(max(abs(subject.degree or 1.0), 1.0))
        self.exponents = (far, -far, 1, -1) if far > 1 else (1, -1)
        self._subject = subject
        self._here = here
        self._tolerance, self._euler_tolerance = precision.inexact_rtol, precision.euler_rtol
        weights, gradients = subject.gradient or ([], [])
        self._weights = vector_of(weights)
        self._gradients = [g.detach().double() for g in gradients]
        terms = [(x.detach() * g).flatten() for x, g in zip(subject.inputs, self._gradients, strict=False)]
        # The sum of the terms that c·F is a sum of is the yardstick for rounding where they nearly cancel.
        self._size = max([float(here.abs().max()), sum(float(each.abs().sum()) for each in terms)])
        self._spread = math.sqrt(sum(float(each.square().sum()) for each in terms))
        self._along_x = sum(float(each.sum()) for each in terms)

    def suspicion(self) -> bool:
        """Return whether anything looks wrong: values, Euler's identity, slopes, or which operations run."""
        gradient, degree = self._subject.gradient, self._subject.degree
        suspected, operations = False, set()
        if gradient is not None and degree is not None:
            claimed = degree * float(self._weights @ self._here)
            suspected = abs(self._along_x - claimed) > self._euler_tolerance * self._size
        for number, pair in enumerate(zip(self.exponents[::2], self.exponents[1::2], strict=True)):
            directions = directions_of(self._subject.inputs, number)
            slopes = []
            for h, exponent in zip((self.step, -self.step), pair, strict=True):
                names: list[object] = []
                there = self._off_ray(directions, h, exponent, names)
                if there is None:
                    continue
                operations.add(tuple(names))
                if there.shape != self._here.shape or self._deviates(there, h):
                    suspected = True
                elif h:
                    slopes.append(float(self._weights @ (there - self._here)) / h)
            if slopes:
                compared = self._slopes(slopes, directions)
                suspected |= compared.off
                if self._spread:
                    self.resolved = max(self.resolved, compared.allowed / self._spread)
        return suspected or len(operations) > 1

    def _off_ray(self, directions: Sequence[Tensor], h: float, exponent: int, names: list[object]) -> Tensor | None:
        """Return α⁻ᵏF(α(x + hv)), None if that is not finite."""
        scale, degree = 2.0**exponent, self._subject.degree
        points = tuple((x.detach() + h * v) * scale for x, v in zip(self._subject.inputs, directions, strict=True))
        with OperationNames(names):
            there = values_of(self._subject.run, points)
        if there is None or not bool(there.isfinite().all()):
            return None
        self.scales.append(scale)
        return there / power(scale, 1.0 if degree is None else degree)

    def _deviates(self, there: Tensor, h: float) -> bool:
        """Return whether some output is not what it was, by more than a step so small can change it."""
        return float((there - self._here).abs().max()) > (self._tolerance + 64 * abs(h)) * self._size

    def _slopes(self, seen: Sequence[float], directions: Sequence[Tensor]) -> Slopes:
        along = sum(float((v.double() * g).sum()) for v, g in zip(directions, self._gradients, strict=True))
        return Slopes(seen, along, self._spread, self._size, self._subject.precision.dtype)
