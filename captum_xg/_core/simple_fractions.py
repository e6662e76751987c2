"""Numbers that are simple fractions but for rounding."""

from __future__ import annotations

from fractions import Fraction


def simple_fraction(number: float, slack: float, largest: int) -> float:
    """Return the fraction with a denominator up to the largest that a number is a rounding of, else the number.

    Args:
        number: Finite.
        slack: How far it may be off.
        largest: The largest denominator.
    """
    simple = float(Fraction(number).limit_denominator(largest))
    return simple if abs(simple - number) <= slack else number
