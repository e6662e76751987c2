"""The certificate: a verdict on F(αx) = αᵏF(x), what it holds for, and what prevents a proof."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from captum_xg._core.digest import digest_of
from captum_xg._core.finding import Finding, listed
from captum_xg._core.text import displayed, first_ten
from captum_xg._core.types import ForwardFunction
from captum_xg.homogeneity.certificate.standing import Standing
from captum_xg.homogeneity.scaling.checks import Counterexample, format_scale
from captum_xg.homogeneity.scaling.confrontation import Confrontation

Detached: TypeAlias = Literal["violations", "constants"]
Verdict: TypeAlias = Literal["homogeneous", "disproved", "unknown"]


@displayed
@dataclass(frozen=True)
class Violation(Finding):
    """A finding of a certificate: one for each module, with everything that the module does.

    Attributes:
        module: Its path in the model, ``""`` for the model's own forward and for plain functions.
        op: The operation, ``"aten.add.Tensor"``, ``""`` if it is not one.
        location: ``"file:line"`` that called it, ``""`` if that is not known.
        reason: What it does.
        remedy: What to do about it.
        type: The class of the module, ``""`` outside of modules.
        gradient: The values may scale, but autograd's gradient is not theirs.
        further: What else the same module does, as (op, location, reason).
    """

    module: str
    op: str
    location: str
    reason: str
    remedy: str
    type: str = ""
    gradient: bool = False
    further: tuple[tuple[str, str, str], ...] = ()


@displayed
@dataclass(frozen=True)
class Certificate:
    """The verdict on one forward function, for inputs of one shape and dtype.

    If ``homogeneous``, then F(αx) = αᵏF(x) in exact arithmetic for all inputs x of these shapes, all α > 0, with
    k = ``degree``, for parameters and buffers as they were, and autograd's gradient is that of F. Nothing but
    operations with a rule was used to conclude that.

    Attributes:
        homogeneous: Whether it is proven.
        degree: k, any real number, if proven; None if not, and if F is identically zero, which fits every k.
            X-Gradient needs k ≥ 1.
        violations: The modules that break it, each once, in order of execution.
        unsupported: The modules in which something ran that nothing is known about.
        identically_zero: F is zero for every input.
        counterexample: Where the violations were seen to change the output of the example, if they were.
        n_ops: How many operations ran.
        shapes: Shapes of the inputs it holds for.
        dtypes: Their dtypes.
        confrontation: The numbers that a proof was confronted with before it was handed out.
        digest: SHA-256 of architecture, parameters and buffers; :meth:`is_stale` compares with it.
        detached: ``"constants"`` if everything here is said of F with what it detaches held constant. Then the values
            of F itself need not scale: proven is Σ x·∂F = kF, with autograd's gradient, at every input.
        jointly: The names of the constants that are scaled with the inputs, where homogeneity is said of both
            together: F(αx; αc) = αᵏF(x; c). Then nothing is said of Integrated Gradients of x alone.
        standing: What it stands on in Python: F as it was, for :meth:`is_stale`; not in copies, nor in ``to_dict()``.
    """

    homogeneous: bool
    degree: float | None
    violations: list[Violation]
    unsupported: list[Violation]
    n_ops: int
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    identically_zero: bool = False
    counterexample: Counterexample | None = None
    digest: str = ""
    confrontation: Confrontation | None = None
    notes: tuple[str, ...] = ()
    name: str = field(default="F", repr=False)
    detached: Detached = "violations"
    jointly: tuple[str, ...] = ()
    standing: Standing | None = field(default=None, repr=False, compare=False)

    @property
    def verdict(self) -> Verdict:
        """``"homogeneous"``; ``"disproved"``: shown to be wrong; ``"unknown"``: neither proven nor disproved.

        Disproved means that F(αx) ≠ αᵏF(x) was seen, or that the gradient is cut. What breaks a proof without being
        seen to change the output may cancel (x + 1 − 1), so it leaves the verdict unknown.
        """
        if self.homogeneous:
            return "homogeneous"
        if self.counterexample is not None or any(violation.gradient for violation in self.violations):
            return "disproved"
        return "unknown"

    def covers(self, degree: float | None) -> bool:
        """Return whether x·∇F/k is proven to be Integrated Gradients against zero for k = ``degree`` ≥ 1."""
        if not self.homogeneous or self.detached == "constants" or self.jointly:
            return False  # F itself need not scale in x, so its integrated gradients are others
        return self.identically_zero or (
            degree is not None and degree >= 1 and self.degree is not None and abs(degree - self.degree) < 1e-9
        )

    def __bool__(self) -> bool:
        return self.homogeneous

    def is_stale(self, forward_func: ForwardFunction) -> bool:
        """Return whether F is not what it was when this was issued.

        By the numbers in parameters and buffers, classes, modes and settings, which also tell whether another object is
        the same model. Of the very object that was certified also by what a kept proof is told by: hooks, modules and
        tensors in other places, functions, what they close over and the globals they name, and the constants that were
        looked at. What lies deeper in Python is not seen; Euler's identity and numbers are for that.
        """
        if digest_of(forward_func) != self.digest:
            return True
        known = self.standing
        return known is not None and known.is_of(forward_func) and not known.holds(forward_func)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as finite numbers, strings, lists and dicts."""
        result = {"verdict": self.verdict, **asdict(replace(self, standing=None))}
        del result["standing"]
        result["shapes"] = [list(shape) for shape in self.shapes]
        result["dtypes"] = list(self.dtypes)
        result["notes"] = list(self.notes)
        result["jointly"] = list(self.jointly)
        if self.counterexample is not None and not math.isfinite(self.counterexample.deviation):
            result["counterexample"]["deviation"] = None  # JSON has no infinity
        for key in ("violations", "unsupported"):
            for violation in result[key]:
                violation["further"] = [list(part) for part in violation["further"]]
        return result

    def to_json(self, indent: int | None = 2) -> str:
        """Return :meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def __str__(self) -> str:
        lines = [f"{self.name}: {self._headline()}"]
        inputs = ", ".join(f"{dtype} {list(shape)}" for shape, dtype in zip(self.shapes, self.dtypes, strict=True))
        lines.append(f"  {self.n_ops} operations; inputs {inputs}; parameters {self.digest[:12] or 'not recorded'}")
        if self.jointly:
            lines.append(f"  constants scaled with the inputs: {', '.join(first_ten(self.jointly))}")
        if self.homogeneous and self.confrontation is not None:
            lines.append(f"  {self.confrontation}")
        lines += self.finding_lines()
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)

    def finding_lines(self, most: int | None = None) -> list[str]:
        """Return what speaks against homogeneity as indented lines: the first ``most`` modules, or all."""
        home = "the certificate"
        lines = listed(self.violations, "What breaks it, in order of execution:", most, home)
        lines += listed(self.unsupported, "Nothing is known about:", most, home)
        if self.counterexample is not None:
            c = self.counterexample
            lines.append(
                f"  Seen on the example: at α = {format_scale(c.scale)}, F(αx) is {c.deviation:.1e} (relative) from "
                f"α^k·F(x), even for the k that fits best, {c.degree:.3g}."
            )
        return lines

    def _headline(self) -> str:
        if self.homogeneous and self.detached == "constants":
            degree = 0.0 if self.degree is None else self.degree
            return (
                f"Σ x·∂F = {degree:g}·F with detached values as constants (proven); this says nothing of F(αx), and "
                "X-Gradient does not apply"
            )
        if self.identically_zero and self.homogeneous:
            return "identically zero, so homogeneous of every degree (proven)"
        if self.homogeneous and self.degree is not None:
            power = "" if self.degree == 0 else "α" if self.degree == 1 else f"α^{self.degree:g}·"
            if self.jointly:
                return (
                    f"F(αx; αc) = {power}F(x; c) for all α > 0, in the inputs and {len(self.jointly)} constants "
                    f"together (proven, degree {self.degree:g})"
                )
            headline = f"F(αx) = {power}F(x) for all α > 0 (proven, degree {self.degree:g})"
            return headline if self.degree >= 1 else f"{headline}; X-Gradient needs a degree of at least 1"
        if self.verdict == "disproved":
            scaled = "F(αx; αc) ≠ αᵏF(x; c)" if self.jointly else "F(αx) ≠ αᵏF(x)"
            seen = "the gradient is not that of F" if self.counterexample is None else f"{scaled} for every k"
            return f"not homogeneous: {seen}"
        return "unknown: neither proven to be homogeneous nor disproved"
