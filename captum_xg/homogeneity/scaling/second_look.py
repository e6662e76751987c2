"""The second look at a suspicion: values on their rays, and the gradient at a generic point.

On the ray of the example powers of two round nothing. Where α rounds, F at nearby scales shows how much: what deviates
by more than that is no rounding. A generic point is near the example and has no ties among activations and none at
zero, where a gradient is one of several and differences find another.

In half precision slopes are looked at with several steps. The largest sees curvature and the smallest rounding; a
gradient that is wrong is wrong by the same amount at each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from captum_xg.homogeneity.scaling.checks import format_scale, is_power_of_two
from captum_xg.homogeneity.scaling.fit import power
from captum_xg.homogeneity.scaling.footprints import OperationNames, first_difference, footprint_of, left_range
from captum_xg.homogeneity.scaling.generic_point import gradient_off
from captum_xg.homogeneity.scaling.passes import handles_of, values_of, vector_of
from captum_xg.homogeneity.scaling.screen import Ray
from captum_xg.homogeneity.scaling.subject import Subject

_NEARBY = 1.25, 5.75, 23.5
"""How far scales are from one whose rounding they tell, in units of √eps: where terms cancel inside of F to the last
half of their digits, it is the same over nearer ones."""


class SecondLook:
    """What is wrong on a second, exact look.

    Attributes:
        excused: Scales at which values that F(αx) is made of leave the range of their dtype: nothing is known there.
        resolved: The largest error of a slope that would not be noticed, as far as slopes were looked at.
    """

    def __init__(self, subject: Subject) -> None:
        self.excused: set[float] = set()
        self.resolved: float | None = None
        self._subject = subject
        self._degree = 1.0 if subject.degree is None else subject.degree

    def at_values(self, rays: Sequence[Ray]) -> str:
        """Return at which scale F(αx) is not αᵏF(x), or other operations run than at another; ``""`` if at none.

        Of F itself: a copy in float64 need not share what was not seen, such as memory that NumPy reads as well.
        """
        for i, ray in enumerate(rays):
            # F(x) itself is known; at another point two scales are compared with each other.
            scales = ray.scales if i else [1.0, *ray.scales]
            if found := self._values_off(ray, scales[0], scales[1:]) or _operations_differ(self._subject, ray):
                return found
        return ""

    def at_gradient(self) -> str:
        """Return how ∇F is not the gradient of F near the example; ``""`` if it is, or F has none."""
        if self._subject.gradient is None:
            return ""
        weights = self._subject.gradient[0]
        exact = _wider(self._subject) or self._subject
        if exact is not self._subject and (found := gradient_off(self._subject, weights, slopes=False)[0]):
            return found
        # Where factors count as constants, F changes otherwise than its gradient says.
        found, self.resolved = gradient_off(exact, weights, slopes=not self._subject.conserved)
        return found

    def _values_off(self, ray: Ray, first: float, others: Sequence[float]) -> str:
        reference = self._normed(ray, first)
        if reference is None:
            return ""
        for other in list(others):
            scale = other
            # Where intermediate values leave their range, a nearer scale may do.
            while scale != 1:
                if (there := self._normed(ray, scale)) is None:
                    self.excused.add(scale)
                    break
                if not (differs := self._differs(ray, first, reference, scale, there)):
                    break
                here, points = (tuple(x * each for x in ray.inputs) for each in (first, scale))
                before, after = (footprint_of(self._subject.run, each) for each in (here, points))
                if first != 1 and left_range(after, before, first / scale):
                    self.excused.add(first)  # the example is given, but this scale was chosen
                    return ""
                if there.shape != reference.shape or not left_range(before, after, scale / first):
                    return differs + _where(self._subject, points, first_difference(before, after))
                self.excused.add(scale)
                scale = _nearer(scale)
                if scale != 1:
                    ray.scales.append(scale)
        return ""

    def _differs(self, ray: Ray, first: float, reference: Tensor, scale: float, there: Tensor) -> str:
        """Return how F at one scale is not the multiple of F at another that is claimed, ``""`` if it is."""
        on_example = first == 1
        at = f"at α = {format_scale(scale)}{'' if on_example else ' on another ray'}"
        if there.shape != reference.shape:
            return f"{at} F(αx) has {there.numel()} numbers, and {reference.numel()} at α = {format_scale(first)}"
        size = max(float(reference.abs().max()), float(there.abs().max()), torch.finfo(torch.float64).tiny)
        deviation = float((there - reference).abs().max())
        precision = self._subject.precision
        exact = on_example and is_power_of_two(scale)
        least, surely = (tolerance * size for tolerance in (precision.rtol * 4, precision.inexact_rtol))
        allowed = least if exact else surely
        digits = precision.last_digit * (power(first, -self._degree) + power(scale, -self._degree))
        if deviation <= max(allowed, digits):
            return ""
        if not exact or deviation <= surely:
            allowed += 3 * (self._rounding(ray, first, reference) + self._rounding(ray, scale, there))
            if deviation <= allowed:
                return ""
        i = int((there - reference).abs().argmax())
        growth = power(scale, self._degree)
        return f"{at} F(αx) is {float(there[i]) * growth:.6g} where {float(reference[i]) * growth:.6g} is claimed"

    def _rounding(self, ray: Ray, scale: float, there: Tensor) -> float:
        """Return by how much F, made comparable, changes over nearby scales: rounding, if it is homogeneous there."""
        eps = torch.finfo(self._subject.precision.dtype).eps
        steps = (16.25 * eps, 32.5 * eps, *(step * math.sqrt(eps) for step in _NEARBY))
        nearby = (self._normed(ray, scale * (1 + step)) for step in steps)
        return max(
            (float((y - there).abs().max()) for y in nearby if y is not None and y.shape == there.shape), default=0
        )

    def _normed(self, ray: Ray, scale: float) -> Tensor | None:
        """Return α⁻ᵏF(αx), None if that is not finite."""
        there = values_of(self._subject.run, tuple(x * scale for x in ray.inputs))
        return there / power(scale, self._degree) if there is not None and bool(there.isfinite().all()) else None


def _nearer(scale: float) -> float:
    """Return a scale half as far from 1, or 1."""
    return 2.0 ** int(math.log2(scale) / 2)


def _operations_differ(subject: Subject, ray: Ray) -> str:
    """Return at which scale other operations run than at another, on the ray itself: a branch that was not seen."""
    first: list[object] = []
    for i, scale in enumerate(ray.scales):
        names, start = _operations_at(subject, ray, scale), ray.scales[0]
        first = first if i else names
        if names == first:
            continue
        # By how often F was called, as by a log of every tenth call, they differ at one scale as well.
        again = [_operations_at(subject, ray, each) for each in (scale, start, start, scale)]
        if again != [names, first, first, names]:
            continue
        at = next((i for i, (a, b) in enumerate(zip(first, names)) if a != b), min(len(first), len(names)))  # noqa: B905
        ran = [str(each[at]) if at < len(each) else "nothing more" for each in (first, names)]
        scales = format_scale(start), format_scale(scale)
        return f"operation {at + 1} is {ran[0]} at α = {scales[0]} and {ran[1]} at α = {scales[1]}"
    return ""


def _operations_at(subject: Subject, ray: Ray, scale: float) -> list[object]:
    names: list[object] = []
    with OperationNames(names):
        values_of(subject.run, tuple(x * scale for x in ray.inputs))
    return names


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


def _where(subject: Subject, points: tuple[Tensor, ...], number: int | None) -> str:
    if number is None:
        return ""
    found = footprint_of(subject.run, points, subject.names, wanted=number)
    if found.site is None:
        return ""
    module = f" of {found.site.module} ({found.site.type})" if found.site.module else ""
    return f"; the first operation that differs is {found.site.op}{module} [{found.site.location}]"
