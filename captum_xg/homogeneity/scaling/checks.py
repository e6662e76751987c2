"""Results of comparing F(αx) with αᵏF(x): per scale, by Euler's identity, and as a counterexample."""

from __future__ import annotations

import math
from dataclasses import dataclass

from captum_xg._core.text import displayed


class _Check:
    """A deviation beside the largest that counts as rounding."""

    tolerance: float
    max_deviation: float

    @property
    def holds(self) -> bool:
        """Whether the deviation is within tolerance (a NaN is not)."""
        return self.max_deviation <= self.tolerance

    @property
    def mark(self) -> str:
        """Deviation, tolerance and verdict, as they stand in tables."""
        signs = ("≤", "✓") if self.holds else (">", "✗")
        return f"{self.max_deviation:.1e} {signs[0]} {self.tolerance:.1e} {signs[1]}"


@displayed
@dataclass(frozen=True)
class ScaleCheck(_Check):
    """Agreement of F(αx) with αᵏF(x) at one scale.

    Attributes:
        scale: α.
        examples: How many examples were tried at this scale.
        max_deviation: The largest |F(αx) − αᵏF(x)| / (αᵏ·max(|F(x)|, Σ|x·∂F|)).
        worst_example: The index of the example where it occurs.
        observed: F(αx) there.
        expected: αᵏF(x) there.
        tolerance: The largest deviation that counts as rounding at this scale.
    """

    scale: float
    examples: int
    tolerance: float
    max_deviation: float
    worst_example: int
    observed: float
    expected: float


@displayed
@dataclass(frozen=True)
class EulerCheck(_Check):
    """Agreement of Σ x·∂F with kF, Euler's identity, which homogeneous differentiable functions satisfy.

    Attributes:
        max_deviation: The largest |Σ x·∂F − kF| / max(k|F|, Σ|x·∂F|).
        worst_example: The index of the example where it occurs.
        observed: Σ x·∂F there.
        expected: kF there.
        tolerance: The largest deviation that counts as rounding.
    """

    tolerance: float
    max_deviation: float
    worst_example: int
    observed: float
    expected: float


@displayed
@dataclass(frozen=True)
class UnusedScale:
    """A scale that could not be used on some examples.

    Attributes:
        scale: α.
        examples: How many examples it was given up for.
        reason: Why.
    """

    scale: float
    examples: int
    reason: str


@displayed
@dataclass(frozen=True)
class Counterexample:
    """A scale at which the example input shows that F is not homogeneous of the degree in question.

    Attributes:
        scale: α.
        deviation: Largest |F(αx) − αᵏF(x)| relative to the largest |αᵏF(x)|.
        degree: The k that fits best, which this is measured with.
    """

    scale: float
    deviation: float
    degree: float


def format_scale(scale: float) -> str:
    """Return α as a power of two where it is one."""
    return f"2^{math.frexp(scale)[1] - 1}" if is_power_of_two(scale) else f"{scale:g}"


def is_power_of_two(scale: float) -> bool:
    """Return whether multiplying by α rounds nothing."""
    return math.frexp(scale)[0] == 0.5
