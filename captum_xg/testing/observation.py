"""Observations of a function's values and gradients near several inputs, without any rule: slow and obvious.

They must never be fooled the way a rule may be: inputs of both signs and of unequal size, scales far from 1 on both
sides, and slopes by finite differences. A NaN that stays NaN says nothing against a rule, a number that becomes NaN
does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from captum_xg.homogeneity.scaling.fit import Deviations, deviation, fit_degree, power

SCALES = (1e-3, 1 / 17, 0.37, 2.6, 31.0, 1e3)
"""α at which F(αx) is compared with αᵏF(x): far from 1 on both sides, and near to it."""

TOLERANCE = 1e-6
_SLOPE_TOLERANCE = 1e-4
_STEPS = (1e-5, 1e-7, 1e-9)
_NOISE = 1e-9
_TINY = 1e-200

Function = Callable[..., Any]


@dataclass(frozen=True)
class Slope:
    """Autograd's number, that which it should be, and a size to compare their difference with."""

    autograd: float
    expected: float
    size: float

    def wrong(self, tolerance: float) -> bool:
        """Return whether the two differ."""
        return abs(self.autograd - self.expected) > tolerance * self.size + _NOISE


@dataclass(frozen=True)
class Observation:
    """One tensor of F's output near one x; complex numbers as pairs of real ones, integers as float64.

    Attributes:
        values: F(x).
        scaled: F(αx) for every α; None where F fails.
        generic: x was drawn at random, so it lies at no kink or step.
        euler: Σ x·∂F, with F(x) as what it should be (times the degree); F is weighted at random to one number.
        slope: The derivative along a random direction, by autograd and by finite differences.
    """

    values: Tensor
    scaled: tuple[Tensor | None, ...]
    generic: bool
    euler: Slope | None
    slope: Slope | None

    @property
    def telling(self) -> bool:
        """Whether anything in it is finite and not zero."""
        return bool((self.values.isfinite() & (self.values != 0)).any())


def observe(
    function: Function,
    inputs: Sequence[Any],
    chosen: tuple[int, ...],
    *,
    scales: Sequence[float],
    n_draws: int,
    seed: int,
) -> list[list[Observation]]:
    """Return, for each tensor of F's output, observations at several inputs: the given ones, and others of their shape.

    The ``chosen`` arguments are drawn, and α multiplies them. Where F fails, there is no observation.
    """
    outputs: list[list[Observation]] = []
    generator = torch.Generator().manual_seed(seed)
    for xs, generic in _draws([inputs[i] for i in chosen], n_draws, generator):
        for i, observation in enumerate(_observe_at(function, inputs, chosen, xs, scales, generic, generator)):
            if i == len(outputs):
                outputs.append([])
            outputs[i].append(observation)
    return outputs


def _observe_at(
    function: Function,
    inputs: Sequence[Any],
    chosen: tuple[int, ...],
    xs: list[Tensor],
    scales: Sequence[float],
    generic: bool,
    generator: torch.Generator,
) -> Iterator[Observation]:
    def run(points: Iterable[Tensor]) -> list[Tensor]:
        arguments = [value.clone() if isinstance(value, Tensor) else value for value in inputs]
        for i, point in zip(chosen, points, strict=True):
            arguments[i] = point.clone()
        return [_real(y) for y in output_tensors(function, arguments)]

    def attempt(points: Iterable[Tensor], *, record: bool = False) -> list[Tensor] | None:
        try:
            with torch.set_grad_enabled(record):
                return run(points)
        except (RuntimeError, ValueError, IndexError):  # outside of its domain, or without a derivative
            return None

    values = attempt(xs)
    if values is None:
        return
    scaled = [attempt([scale * x for x in xs]) for scale in scales]
    directions = [size_of(x) * torch.randn(x.shape, dtype=x.dtype, generator=generator) for x in xs]
    around = {
        step: [attempt([x + sign * step * d for x, d in zip(xs, directions, strict=True)]) for sign in (-1, 1)]
        for step in _STEPS
    }
    handles = [x.detach().clone().requires_grad_() for x in xs]
    recorded = attempt(handles, record=True)
    for i, y in enumerate(values):
        euler = slope = None
        weights = torch.randn(y.shape, dtype=torch.float64, generator=generator)
        if recorded is not None and y.dtype == torch.float64 and bool(y.isfinite().all()):
            gradients = _gradients((weights * recorded[i]).sum(), handles)
            if gradients is not None:
                euler = _against(gradients, xs, (weights * y).sum(), weights * y)
                differences = [
                    (weights * (after[i] - before[i])).sum() / (2 * step)
                    for step, (before, after) in around.items()
                    if before is not None and after is not None and before[i].shape == after[i].shape == y.shape
                ]
                slopes = [_against(gradients, directions, each, weights * y) for each in differences]
                # A step that lies within the longer distance is less likely to lie within the shorter one.
                slope = min(slopes, key=lambda s: abs(s.autograd - s.expected), default=None)
        yield Observation(y, tuple(None if s is None or len(s) <= i else s[i] for s in scaled), generic, euler, slope)


def _gradients(total: Tensor, handles: list[Tensor]) -> list[Tensor] | None:
    if not total.requires_grad:
        return [torch.zeros_like(handle) for handle in handles]
    try:
        found = torch.autograd.grad(total, handles, retain_graph=True, allow_unused=True)
    except RuntimeError:  # it says itself that there is no derivative
        return None
    gradients = [torch.zeros_like(h) if g is None else g for g, h in zip(found, handles, strict=True)]
    return gradients if all(bool(g.isfinite().all()) for g in gradients) else None


def _against(gradients: list[Tensor], directions: list[Tensor], expected: Tensor, terms: Tensor) -> Slope:
    products = [(g.conj() * d).real if g.is_complex() else g * d for g, d in zip(gradients, directions, strict=True)]
    size = sum(float(product.abs().sum()) for product in products) + float(terms.abs().sum())
    return Slope(sum(float(product.sum()) for product in products), float(expected), size)


def output_tensors(function: Function, arguments: Sequence[object]) -> list[Tensor]:
    """Return the tensors that F returns; what it draws at random is the same at every call."""
    generator = torch.default_generator  # torch.manual_seed takes longer than most operations
    state = generator.get_state()
    generator.manual_seed(0)
    try:
        return [leaf for leaf in tree_leaves(function(*arguments)) if isinstance(leaf, Tensor)]
    finally:
        generator.set_state(state)


def misfit(observation: Observation, scales: Sequence[float], degree: float) -> str:
    """Return how F(αx) differs from αᵏF(x), ``""`` if it does not."""
    for scale, scaled in zip(scales, observation.scaled, strict=True):
        if scaled is None:
            continue
        if scaled.shape != observation.values.shape:
            return f"F({scale:g}·x) has another shape than F(x)"
        if (far := _deviation(scaled, observation.values, scale, degree)) > TOLERANCE:
            return f"F({scale:g}·x) deviates from {scale:g}^{degree:g}·F(x) by {far:.1e} of it"
    return ""


def slope_misfit(observations: Sequence[Observation], degree: float) -> str:
    """Return how autograd's gradient differs from that of F, ``""`` if it does not."""
    for observation in observations:
        if (euler := observation.euler) is not None:
            due = Slope(euler.autograd, degree * euler.expected, euler.size)
            if due.wrong(_SLOPE_TOLERANCE):
                return f"Σ x·∂F is {due.autograd:.3g} by autograd and kF is {due.expected:.3g}"
    generic = [observation for observation in observations if observation.generic]
    slopes = [observation.slope for observation in generic or observations if observation.slope is not None]
    wrong = [slope for slope in slopes if slope.wrong(10 * _SLOPE_TOLERANCE)]
    # The given input may lie at a kink or a step: then it takes several to tell.
    if wrong and (generic or len(wrong) == len(slopes)):
        seen, claimed = wrong[0].expected, wrong[0].autograd
        return f"F's slope along a direction is {seen:.3g}, but {claimed:.3g} by autograd's gradient"
    return ""


def degree_seen(observations: Sequence[Observation], scales: Sequence[float]) -> float | None:
    """Return the degree that fits all values, None if none does or they say nothing."""
    telling = [observation for observation in observations if observation.telling]
    near = min(range(len(scales)), key=lambda i: abs(abs(math.log(scales[i])) - 1))
    if not telling or (seen := telling[0].scaled[near]) is None or seen.shape != telling[0].values.shape:
        return None
    here, there = (y.double().nan_to_num(0, 0, 0) for y in (telling[0].values, seen))
    degree = fit_degree(Deviations(here, {scales[near]: there}), TOLERANCE)
    return None if any(misfit(observation, scales, degree) for observation in observations) else degree


def same(one: Tensor, other: Tensor) -> bool:
    """Return whether two outputs are equal, up to rounding."""
    return one.shape == other.shape and _deviation(one, other, 1.0, 0.0) <= TOLERANCE


def largest(y: Tensor) -> float:
    """Return the largest finite magnitude."""
    magnitudes = y.detach().abs()
    finite = magnitudes[magnitudes.isfinite()]
    return float(finite.max()) if finite.numel() else 0.0


def size_of(x: Tensor) -> float:
    """Return the largest finite magnitude, 1 for zeros."""
    return largest(x) or 1.0


def _deviation(observed: Tensor, y: Tensor, scale: float, degree: float) -> float:
    limits = torch.finfo(y.dtype)
    expected = y.double() * power(scale, degree)
    low, high = max(_TINY, limits.tiny), min(1 / _TINY, limits.max)
    if largest(y) > 0 and not (low < largest(y) < high and low < largest(expected) < high):
        return 0.0  # out of range, for it or for intermediate values
    finite = expected.isfinite()
    if not torch.equal(observed[~finite].double().nan_to_num(), expected[~finite].nan_to_num()):
        return math.inf
    # Of a result in a shorter dtype, less can be asked.
    return deviation(observed[finite], y[finite], scale, degree) / max(1.0, 64 * limits.eps / TOLERANCE)


def _draws(xs: list[Tensor], n_draws: int, generator: torch.Generator) -> Iterator[tuple[list[Tensor], bool]]:
    """Yield the given inputs, then others of their shapes, by turns random, negated and shuffled; and if at random."""
    for draw in range(n_draws):
        if draw == 0:
            yield xs, False
        elif draw % 3 == 1:
            yield [size_of(x) * torch.randn(x.shape, dtype=x.dtype, generator=generator) for x in xs], True
        elif draw == 2:
            yield [-x for x in xs], False
        else:
            yield [x.flatten()[torch.randperm(x.numel(), generator=generator)].view_as(x) for x in xs], False


def _real(y: Tensor) -> Tensor:
    y = y.to_dense() if y.layout != torch.strided else y
    if y.is_complex():
        return torch.view_as_real(y.resolve_conj())
    return y if y.dtype.is_floating_point else y.double()
