"""Degree algebra: the abstract domain of the certificate, and how operations combine its values.

A :class:`Scaling` abstracts a quantity by what happens to it when every input is multiplied by α > 0. Needs no tensors.

==============  ==================================================================================================
zero            identically zero, so of every degree
constant        the same number whatever the input is
degree k        f(αx) = αᵏ f(x) for every α > 0 and every x, k any real number
disproved       not known to scale, because of the reasons it carries
unknown         an operation without a transfer function, or one that nothing is known of, has had a part in it
==============  ==================================================================================================

The functions that end in ``_of`` are the transfer functions of arithmetic; those of PyTorch's operations are put
together from them (``rules/``). As an example, x·w + b for an input x, a weight w and a bias b::

    sum_of(product_of(of_degree(1), CONSTANT), CONSTANT)    # disproved: adds a constant to what has degree 1
    sum_of(product_of(of_degree(1), CONSTANT), ZERO)        # degree 1

*What must never happen*: a result without a reason against it (``proven``) that does not scale as it says. Reasons are
therefore only ever added, by every function, to those of the arguments; what drops some (:meth:`Scaling.in_steps`, a
product with zero) says why that is right. A disproved or unknown scaling still has the degree that it would have if its
reasons were fixed (None if that is not known), so that what comes after it is analysed as well and one pass finds every
place that has to be changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeAlias

from captum_xg._core.simple_fractions import simple_fraction

Kind: TypeAlias = Literal["zero", "constant", "degree", "disproved", "unknown"]


@dataclass(frozen=True)
class Reason:
    """Why something does not scale, or is not known to.

    Attributes:
        what: What happens, in words that follow "it".
        remedy: What to do about it.
        kind: ``"value"``: the values do not scale; ``"gradient"``: the values may scale, but autograd's gradient is not
            their gradient; ``"unknown"``: nothing is known.
    """

    what: str
    remedy: str = ""
    kind: Literal["value", "gradient", "unknown"] = "value"


def rounded_degree(degree: float, tolerance: float) -> float:
    """Return the simple fraction that a degree is but for exponents that were rounded (p and 1/p), else the degree."""
    return simple_fraction(degree, tolerance * max(1.0, abs(degree)), 16)


@lru_cache(maxsize=4096)
def _canonical(degree: float) -> float:
    """Return the fraction that a degree is a rounding of: 3 · (1/3) must be 1, though 1/3 has only 53 bits."""
    return simple_fraction(degree, 1e-12 * max(1.0, abs(degree)), 1000) + 0.0


@dataclass(frozen=True)
class Scaling:
    """How one quantity depends on α when every input is multiplied by α > 0.

    Attributes:
        degree: k; 0 for constants; None if it is zero, or if nothing can be told.
        constant: It does not depend on the input at all.
        zero: It is identically zero.
        stepwise: It depends on the input only in steps (comparisons, signs, arguments of maxima), so that its gradient
            is zero wherever there is one. Constants are.
        signed: It is zero with a sign that the input decides (-0.0), which 1/x and copysign tell from 0.0.
        reasons: What speaks against it; empty if the scaling is proven.
        guessed: The degree is one of several that a fix could lead to (a gate may come to scale or not). So it does not
            count as 0 where 0 would allow more, and what disagrees with it is not to blame.
    """

    degree: float | None
    constant: bool = False
    zero: bool = False
    stepwise: bool = False
    signed: bool = False
    reasons: frozenset[Reason] = frozenset()
    guessed: bool = False

    def __post_init__(self) -> None:
        if self.degree is not None:
            object.__setattr__(self, "degree", _canonical(self.degree))

    @property
    def kind(self) -> Kind:
        """Which of the five it is."""
        if any(reason.kind == "unknown" for reason in self.reasons):
            return "unknown"
        if self.reasons:
            return "disproved"
        return "zero" if self.zero else "constant" if self.constant else "degree"

    @property
    def proven(self) -> bool:
        """Whether it is zero, constant or of a degree, without reservation."""
        return not self.reasons

    @property
    def depends_on_input(self) -> bool:
        """Whether the input can change it."""
        return self.signed or not (self.constant or self.zero)

    @property
    def scale_free(self) -> bool:
        """Whether α does not change it once its reasons are fixed: zero, constant or degree 0."""
        return self.zero or (self.degree == 0 and not self.guessed)

    def because(self, *reasons: Reason) -> Scaling:
        """Return it with more reasons against it."""
        return replace(self, reasons=self.reasons.union(reasons)) if reasons else self

    def with_reasons(self, change: Callable[[Reason], Reason]) -> Scaling:
        """Return it with every reason changed."""
        if not self.reasons:
            return self
        changed = frozenset(map(change, self.reasons))
        return self if changed == self.reasons else replace(self, reasons=changed)

    def in_steps(self) -> Scaling:
        """Return the scaling of something that jumps where this crosses a boundary and else does not change.

        A gradient that is zero is right whatever happened to the gradient of what it was computed from.
        """
        kept = frozenset(reason for reason in self.reasons if reason.kind != "gradient")
        if not self.depends_on_input:
            return replace(self, reasons=kept)
        return Scaling(0.0, stepwise=True, reasons=kept, guessed=self.guessed)

    def __str__(self) -> str:
        if self.kind in ("disproved", "unknown"):
            return f"{self.kind}: {'; '.join(sorted(reason.what for reason in self.reasons))}"
        return f"degree {self.degree:g}" if self.kind == "degree" else self.kind


WITHOUT_THE_CONSTANT = "Leave the constant out, or set it to zero"
"""The remedy for a constant that meets what scales."""

ZERO = Scaling(None, zero=True, stepwise=True)
SIGNED_ZERO = Scaling(None, zero=True, stepwise=True, signed=True)
CONSTANT = Scaling(0.0, constant=True, stepwise=True)


def of_degree(k: float) -> Scaling:
    """Return "f(αx) = αᵏf(x)"."""
    return Scaling(k)


def disproved(what: str, remedy: str = "", *, otherwise: float | None = None) -> Scaling:
    """Return "does not scale", and the degree it would have otherwise."""
    return Scaling(otherwise, reasons=frozenset({Reason(what, remedy)}))


def unknown(what: str, remedy: str = "") -> Scaling:
    """Return "nothing is known"."""
    return Scaling(None, reasons=frozenset({Reason(what, remedy, kind="unknown")}))


def sum_of(*parts: Scaling, reason: Reason | None = None) -> Scaling:
    """Return the scaling of a sum: parts of one degree keep it, parts of different degree have none together.

    It also is that of whatever has the sum's degree if all parts have one degree: maximum, selection, concatenation.

    Args:
        parts: The scalings of the terms, at least one.
        reason: What to say if they do not fit; by default which degrees meet.
    """
    terms = [part for part in parts if not part.zero]
    reasons, signed = _reasons(parts), any(part.signed for part in parts)
    if not terms:
        return replace(SIGNED_ZERO if signed else ZERO, reasons=reasons)
    stepwise = all(term.stepwise for term in terms)
    if all(term.constant for term in terms):
        return Scaling(0.0, stepwise=True, reasons=reasons) if signed else replace(CONSTANT, reasons=reasons)
    degrees = [term.degree for term in terms]
    known = sorted({degree for degree in degrees if degree is not None})
    if len(known) < len({*degrees}):  # some cannot be told: neither can the sum, nor what disagrees with it
        return Scaling(None, stepwise=stepwise, reasons=reasons)
    # Once fixed, it is the sum without its constants, or else of the highest degree in it.
    dependent = [term for term in terms if not term.constant]
    sure = [term for term in dependent if not term.guessed] or dependent
    degree = max(term.degree for term in sure if term.degree is not None)
    result = Scaling(degree, stepwise=stepwise, reasons=reasons, guessed=all(term.guessed for term in sure))
    fits = len({term.degree for term in terms if not term.guessed}) <= 1
    shifted = len(dependent) < len(terms) and any(term.guessed for term in dependent)
    return result if fits and not shifted else result.because(reason or mismatch(*terms))


def mismatch(*terms: Scaling, verb: str = "adds", preposition: str = "to") -> Reason:
    """Return the reason that terms of different degree meet."""
    degrees = sorted({term.degree for term in terms if not term.constant and term.degree is not None})
    listed = " and ".join(f"degree {degree:g}" for degree in degrees)
    if any(term.constant for term in terms) and degrees != [0]:
        return Reason(f"{verb} a constant {preposition} what has {listed}", WITHOUT_THE_CONSTANT)
    return Reason(f"{verb} what has {listed}", "Bring the parts to one degree, or explain them separately")


def product_of(*parts: Scaling) -> Scaling:
    """Return the scaling of a product: degrees add, and zero times anything is zero."""
    if any(part.zero for part in parts):
        zero = SIGNED_ZERO if any(part.depends_on_input for part in parts) else ZERO
        return zero if any(part.zero and part.proven for part in parts) else replace(zero, reasons=_reasons(parts))
    reasons, stepwise = _reasons(parts), all(part.stepwise for part in parts)
    if all(part.constant for part in parts):
        return replace(CONSTANT, reasons=reasons)
    degrees = [part.degree for part in parts]
    known = [degree for degree in degrees if degree is not None]
    degree = sum(known) if len(known) == len(degrees) else None
    return Scaling(degree, stepwise=stepwise, reasons=reasons, guessed=any(part.guessed for part in parts))


def quotient_of(numerator: Scaling, denominator: Scaling) -> Scaling:
    """Return the scaling of a quotient: degrees subtract; a denominator that is zero everywhere gives nothing."""
    if denominator.zero:
        why = Reason("divides by what is zero for every input", "Check the denominator")
        return Scaling(None, reasons=_reasons((numerator, denominator)) | {why})
    return product_of(numerator, power_of(denominator, -1.0))


def power_of(base: Scaling, exponent: float) -> Scaling:
    """Return the scaling of a power with a fixed exponent: the degree is multiplied by it."""
    if not math.isfinite(exponent):
        return nonlinear_of(base, Reason(f"raises to the power {exponent}", "Use a finite exponent"))
    if exponent == 0:
        return CONSTANT
    if base.zero:
        if exponent > 0:
            return base
        why = Reason("raises what is zero for every input to a negative power", "Check the base")
        return Scaling(None, reasons=base.reasons | {why})
    if base.constant or base.degree is None:
        return base
    return replace(base, degree=base.degree * exponent)


def nonlinear_of(argument: Scaling, reason: Reason, *, otherwise: float | None = 0.0) -> Scaling:
    """Return the scaling of f(argument) for a function f about which nothing is assumed.

    What does not change with α has an f that does not change with α; for all else there is a reason against it.

    Args:
        argument: The scaling of the argument.
        reason: What f does to an argument that scales.
        otherwise: The factor by which the argument's degree is multiplied in what would stand there instead, 1 for what
            a ReLU would replace, 0 for a gate; None if nothing can be told.
    """
    if argument.zero:
        return argument.in_steps() if argument.signed else replace(CONSTANT, reasons=argument.reasons)
    if argument.scale_free or argument.degree is None:
        return argument
    degree = None if otherwise is None else argument.degree * otherwise
    guessed = argument.guessed or otherwise != 1
    return Scaling(degree, stepwise=argument.stepwise, reasons=argument.reasons, guessed=guessed).because(reason)


def maximum_of(*parts: Scaling, reason: Reason | None = None) -> Scaling:
    """Return the scaling of a maximum, minimum or median: that of a sum, for α > 0 keeps the order."""
    terms = [part for part in parts if not part.zero]
    if reason is None and len({term.degree for term in terms}) > 1:
        clash = mismatch(*terms, verb="takes the larger or smaller of", preposition="and")
        reason = Reason(f"{clash.what}, so that another one wins at another α", clash.remedy)
    return sum_of(*parts, reason=reason)


def comparison_of(left: Scaling, right: Scaling, *, reason: Reason | None = None) -> Scaling:
    """Return the scaling of left < right or left = right: both sides multiplied by one αᵏ compare as before."""
    reason = reason or Reason(
        "compares with a threshold that αx crosses", "Compare with zero, or with what scales with the input alike"
    )
    joined = sum_of(left, right, reason=reason).in_steps()
    return replace(CONSTANT, reasons=joined.reasons) if joined.zero else joined


def selection_of(condition: Scaling, *branches: Scaling, reason: Reason | None = None) -> Scaling:
    """Return the scaling of a choice between branches by a condition: theirs, if the condition does not change."""
    chosen = sum_of(*branches, reason=reason)
    if chosen.zero and chosen.proven:
        return chosen
    if not condition.scale_free and condition.degree is not None:
        condition = condition.because(Reason("chooses by a value that changes with α", "Choose by comparisons"))
    steps = condition.in_steps()
    reasons = chosen.reasons | steps.reasons
    if (chosen.depends_on_input and not chosen.signed) or not condition.depends_on_input:
        return replace(chosen, reasons=reasons)
    return Scaling(0.0, stepwise=True, reasons=reasons)


def _reasons(parts: Iterable[Scaling]) -> frozenset[Reason]:
    return frozenset().union(*(part.reasons for part in parts))
