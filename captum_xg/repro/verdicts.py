"""Verdicts: the rules by which an interval confirms a claim of the paper, or does not.

A claim is confirmed where the whole 95 % interval is on the side that the claim names; where the interval has the bound
in it nothing is decided, which is *not confirmed* and said so.
"""

from __future__ import annotations

import math

from captum_xg._core.estimate import Estimate
from captum_xg.repro.section import Claim, Finding


def above(claim: Claim, found: Estimate, bound: float, what: str, spec: str = ".3g") -> Finding:
    """Return the verdict on a claim that a number is above a bound.

    Args:
        claim: The claim.
        found: The number, with its 95 % interval.
        bound: What it has to exceed.
        what: What the number is, such as ``"KPM of X-Gradient minus that of EG(1)"``.
        spec: Format of the numbers.
    """
    return _one_sided(claim, found, bound, what, spec, 1)


def below(claim: Claim, found: Estimate, bound: float, what: str, spec: str = ".3g") -> Finding:
    """Return the verdict on a claim that a number is below a bound; see :func:`above`."""
    return _one_sided(claim, found, bound, what, spec, -1)


def within(claim: Claim, found: Estimate, bound: float, what: str, spec: str = ".3g") -> Finding:
    """Return the verdict on a claim that two things are equal: whether their difference is surely within ±bound."""
    ours, spec = f"{what}: {found.formatted(spec)}", spec.lstrip("+")  # a bound is on both sides
    if math.isnan(found.low):
        return Finding(claim, ours, "not confirmed", _ALONE)
    if -bound < found.low and found.high < bound:
        return Finding(claim, ours, "confirmed", f"the interval lies within ±{bound:{spec}}")
    outside = found.low > bound or found.high < -bound
    place = "outside of" if outside else "partly outside of"
    return Finding(claim, ours, "not confirmed", f"the interval lies {place} ±{bound:{spec}}")


def not_comparable(claim: Claim, ours: str, why: str) -> Finding:
    """Return that a printed number is not compared, as it is about another setting."""
    return Finding(claim, ours, "not comparable", why)


def printed_number(
    claim: Claim, found: Estimate, number: float, tolerance: float, what: str, *, comparable: str
) -> Finding:
    """Return whether a printed number came out again, within a tolerance.

    Args:
        claim: The claim.
        found: Ours.
        number: The printed one.
        tolerance: The largest difference that counts as the same.
        what: What the number is.
        comparable: Why it cannot be compared; empty if it can.
    """
    ours = f"{what}: {found.formatted('.4g')}"
    if comparable:
        return Finding(claim, ours, "not comparable", comparable)
    difference = abs(found.value - number)
    same = difference <= tolerance
    why = f"it differs by {difference:.3g} from {number:g}, where {tolerance:g} is allowed"
    return Finding(claim, ours, "confirmed" if same else "not confirmed", why)


_ALONE = "a single example has no interval"


def _one_sided(claim: Claim, found: Estimate, bound: float, what: str, spec: str, sign: int) -> Finding:
    ours = f"{what}: {found.formatted(spec)}"
    side, other = ("above", "below") if sign > 0 else ("below", "above")
    if math.isnan(found.low):
        return Finding(claim, ours, "not confirmed", _ALONE)
    near, far = (found.low, found.high) if sign > 0 else (found.high, found.low)
    if sign * (near - bound) > 0:
        return Finding(claim, ours, "confirmed", f"the whole interval lies {side} {bound:{spec}}")
    if sign * (far - bound) < 0:
        return Finding(claim, ours, "not confirmed", f"the whole interval lies {other} {bound:{spec}}")
    return Finding(claim, ours, "not confirmed", f"the interval includes {bound:{spec}}: nothing is decided")
