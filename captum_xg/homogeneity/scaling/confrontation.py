r"""The confrontation of a proof with numbers: what it claims about one example, and what F gives there.

A proof rests on what an observer saw, and an observer inside of an open Python world cannot see everything. Numbers do
not depend on seeing. So before a certificate is handed out, F runs at four more points (:mod:`.screen`): far on both
sides along the ray of the example, and at two scales of a point on another ray, which are no powers of two and others
for each example. Euler's identity ∇(c·F)·x = k·c·F and the slope along a random direction confront the gradient.

What looks wrong is only suspected: it may be a kink within reach of a step, or a tie, or rounding. It is then looked
at again, exactly (:mod:`.second_look`): the values on their rays, beside the rounding that nearby scales show, and the
gradient around a point without ties, in float64 if the model can be copied into it. Only what is wrong there, too, is
a contradiction.

Example: F reads memory through NumPy and doubles its output for large inputs. Every operation that is seen scales;
F(2¹⁶x) is 2¹⁷F(x); there is no certificate.

What must never happen: a contradiction by an accident of the dtype (an intermediate value that underflows), or none
because F cannot be run. Where it cannot, nearer scales are tried, and the certificate says which ones were left out.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

from captum_xg._core.text import displayed
from captum_xg.homogeneity.scaling.checks import format_scale
from captum_xg.homogeneity.scaling.passes import vector_of
from captum_xg.homogeneity.scaling.screen import Screen
from captum_xg.homogeneity.scaling.second_look import SecondLook
from captum_xg.homogeneity.scaling.subject import Subject

_USELESS = 0.5
"""A larger error of slopes that would not be noticed makes them no confrontation."""


@displayed
@dataclass(frozen=True)
class Confrontation:
    """What a proof was confronted with, and what contradicts it.

    Attributes:
        scales: The α at which F ran on the example, and gave finite numbers.
        tolerance: The largest relative deviation of F(αx) from αᵏF(x) that counts as rounding, where α is no power of
            two or x is moved a little: one rounding of αx is part of it.
        euler: The largest deviation of Σ x·∂F from kF, relative to Σ|x·∂F|, that counts as rounding; None where F
            gives no gradient to speak of.
        differences: The largest error of ∇F along a random direction that would not be noticed, relative to the root of
            Σ(x·∂F)², which such slopes are by chance; None where F gives no gradient to speak of.
        contradiction: What speaks against the proof, ``""`` if nothing does.
        elsewhere: The α at which F ran at another point, of the size of the example and with signs of its own.
        unused: The α at which values leave the range of their dtype, or F does not run: nothing is known there.
    """

    scales: tuple[float, ...]
    tolerance: float
    euler: float | None = None
    differences: float | None = None
    contradiction: str = ""
    elsewhere: tuple[float, ...] = ()
    unused: tuple[float, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the proof."""
        return not self.contradiction

    def __str__(self) -> str:
        if not self.scales and not self.unused and self.euler is not None:
            return f"confronted with numbers near the example: ∇F by Euler's identity, to {self.euler:.0e}"
        text = f"confronted with the example: F(αx) at α = {_listed(self.scales)}"
        if self.elsewhere:
            text = f"{text}, F(αz) on another ray at α = {_listed(self.elsewhere)}"
        if self.unused:
            text = f"{text} (not at {_listed(self.unused)}: F does not run there, or leaves the range of its dtype)"
        text = f"{text}, to {self.tolerance:.0e}"
        if self.euler is None:
            return f"{text}; no gradient to confront"
        text = f"{text}; ∇F by Euler's identity, to {self.euler:.0e}"
        if self.differences is None or self.differences > _USELESS:
            return f"{text} (slopes are not resolved in this precision and size)"
        return f"{text}, and by slopes along random directions, to {self.differences:.0e}"


def confront(subject: Subject) -> Confrontation:
    """Return what F gives beside what is claimed of it, each suspicion looked at twice."""
    precision = subject.precision
    result = Confrontation((), precision.inexact_rtol, None if subject.gradient is None else precision.euler_rtol)
    here = vector_of(subject.outputs)
    if here.numel() == 0 or not bool(here.isfinite().all()):
        return result
    if subject.conserved:
        return replace(result, contradiction=SecondLook(subject).at_gradient())
    screen = Screen(subject, here)
    suspected = screen.suspicion()
    # Half precision has no step between its rounding and the curvature of F, unless they are told apart by several.
    coarse = subject.gradient is not None and not subject.resolves_slopes
    look = SecondLook(subject)
    found = look.at_values(screen.rays) if suspected else ""
    found = found or (look.at_gradient() if suspected or coarse else "")
    ray, *others = screen.rays
    resolved = look.resolved if coarse else screen.resolved
    return replace(
        result,
        scales=_without(ray.scales, look.excused),
        elsewhere=_without([scale for other in others for scale in other.scales], look.excused),
        unused=tuple(sorted({*screen.unused, *look.excused})),
        differences=None if subject.gradient is None else resolved,
        contradiction=found,
    )


def _without(scales: Iterable[float], excused: Container[float]) -> tuple[float, ...]:
    return tuple(sorted(scale for scale in scales if scale not in excused))


def _listed(scales: Iterable[float]) -> str:
    return ", ".join(map(format_scale, scales)) or "none"
