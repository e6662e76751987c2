"""The verdict of the numeric check, with every number behind it, as tables and as an error."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from captum_xg._core.finding import Finding, listed
from captum_xg._core.text import Table, displayed
from captum_xg.errors.base import CaptumXGError
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.scaling.checks import EulerCheck, ScaleCheck, UnusedScale, format_scale


@displayed
@dataclass(frozen=True)
class Culprit(Finding):
    """What breaks homogeneity: found op by op, or as a layer that does not scale on the activations that it receives.

    Attributes:
        module: Path of the module in the model, "" for the model itself.
        kind: Its class name, "" for a function that is no module.
        reason: What it does.
        remedy: What to do about it.
        location: ``"file:line"`` that does it, "" if that is not known.
    """

    module: str
    kind: str
    reason: str
    remedy: str
    location: str = ""
    # No fields, as they are the same for all.
    op, further = "", ()

    @property
    def type(self) -> str:  # type: ignore[override]  # a field of the others
        """The class name of the module, as all findings call it."""
        return self.kind

    def _place(self, op: str, location: str) -> str:
        # A module's path says where to look; its own forward and plain functions need the line.
        return f" [{location}]" if location and not self.module else ""

    def _parts(self) -> list[str]:
        return self.lines()  # its remedy stands once for those in a row that share it


@displayed
@dataclass(frozen=True)
class HomogeneityReport:
    """Whether F(αx) = αᵏF(x) held, numerically, on some inputs and scales.

    It is a test and not a proof: it has seen these inputs at these scales.

    Attributes:
        homogeneous: True only if every example was tried at one scale other than 1 at least, every deviation is within
            tolerance, Euler's identity holds, and k ≥ 1.
        degree: The degree k that F shows: the one asked for where it held, else the one estimated; None if there is no
            single one (or F is zero along all these rays and none was asked for).
        tested_degree: The degree that the deviations refer to; None if none could be estimated.
        max_deviation: The largest relative deviation over all scales.
        worst_example: The index of the example where it occurs.
        worst_scale: The α where it occurs.
        scales: One line per scale.
        euler: Euler's identity; None if no degree was there to test.
        gradient: Agreement of the gradients, Σ|x·(∂F(αx) − αᵏ⁻¹·∂F(x))|, for examples where F is zero at every scale
            and so says nothing of k although the attributions are not zero; None if there are none.
        unused: Scales that could not be used, and why.
        unchecked: Indices of examples that could be tried at no scale.
        examples: Number of examples.
        dtype: The coarsest dtype of the computation, which decides the tolerance.
        culprits: The layers that break homogeneity, first one first, where the forward function contains modules.
        notes: Further findings, one sentence each.
        certificate: The static analysis that names the culprits, where there was a violation to explain.
    """

    homogeneous: bool
    degree: float | None
    tested_degree: float | None
    max_deviation: float
    worst_example: int
    worst_scale: float
    scales: tuple[ScaleCheck, ...]
    euler: EulerCheck | None
    unused: tuple[UnusedScale, ...]
    unchecked: tuple[int, ...]
    examples: int
    dtype: str
    gradient: ScaleCheck | None = None
    culprits: tuple[Culprit, ...] = ()
    notes: tuple[str, ...] = ()
    certificate: Certificate | None = field(default=None, repr=False, compare=False)

    @property
    def values_hold(self) -> bool:
        """Whether F(αx) agreed with αᵏF(x) wherever it was tried (the gradient may still not be that of F)."""
        return all(check.holds for check in self.scales)

    @property
    def violated(self) -> bool:
        """Whether some deviation exceeds its tolerance (and not merely that something could not be tried)."""
        return any(check is not None and not check.holds for check in (*self.scales, self.euler, self.gradient))

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]:
        """The coarsest dtype of the computation, which may be one that casts inside of F hide."""
        dtype = getattr(torch, self.dtype, None)
        return (dtype,) if isinstance(dtype, torch.dtype) else ()

    def shifted(self, start: int) -> HomogeneityReport:
        """Return the same report with ``start`` added to every index of an example, for a part of a larger batch."""
        if start == 0:
            return self
        return replace(
            self,
            worst_example=self.worst_example + start,
            scales=tuple(replace(s, worst_example=s.worst_example + start) for s in self.scales),
            euler=self.euler and replace(self.euler, worst_example=self.euler.worst_example + start),
            gradient=self.gradient and replace(self.gradient, worst_example=self.gradient.worst_example + start),
            unchecked=tuple(i + start for i in self.unchecked),
        )

    def _parts(self) -> list[str | Table]:
        k = _number(1.0 if self.tested_degree is None else self.tested_degree)
        rows: list[tuple[str, ...]] = [("scale α", "examples", "deviation", "worst example", "F(αx)", f"α^{k}·F(x)")]
        rows += [_row(format_scale(check.scale), check.examples, check) for check in self.scales]
        if self.euler is not None:
            rows.append(_row("Euler", self.examples, self.euler))
        if self.gradient is not None:
            rows.append(_row(f"∇F {format_scale(self.gradient.scale)}", self.gradient.examples, self.gradient))
        lines: list[str | Table] = [
            f"{self._verdict()} ({self.examples} example{'s' * (self.examples != 1)}, {self.dtype})",
            Table(rows, left=0, indent=2),
        ]
        if self.euler is not None:
            lines.append(f"  Euler's identity compares Σ x·∂F with {k}·F(x).")
        if self.gradient is not None:
            lines.append("  Where F is zero at every scale, ∇F(αx) is compared with αᵏ⁻¹·∇F(x), as Σ|x·∂F|.")
        lines.append("  Deviations are relative to max(|F|, Σ|x·∂F|) and compared with the tolerance behind them.")
        lines += [
            f"  Not used: α = {format_scale(u.scale)} on {u.examples} of {self.examples} examples: {u.reason}."
            for u in self.unused
        ]
        if self.unchecked:
            shown = ", ".join(map(str, self.unchecked[:8])) + ", …" * (len(self.unchecked) > 8)
            lines.append(f"  Tried at no scale: example{'s' * (len(self.unchecked) > 1)} {shown}.")
        lines += [f"  {note}" for note in self.notes]
        return lines + self.culprit_lines()

    def culprit_lines(self, most: int = 10) -> list[str]:
        """Return the culprits as indented lines, the first ``most`` of them."""
        return listed(self.culprits, "What breaks it, in order of execution:", most, "report.culprits")

    def _verdict(self) -> str:
        if self.homogeneous:
            return f"Homogeneous of degree {_number(self.degree)}" if self.degree else "Zero on every ray: any degree"
        if self.tested_degree is None:
            return "NOT homogeneous of any degree" if self.violated else "Its degree cannot be told"
        found = "" if self.degree in (None, self.tested_degree) else f"; it shows degree {_number(self.degree)}"
        if not self.violated and self.tested_degree < 1:
            return f"Homogeneous of degree {_number(self.tested_degree)}, below 1: X-Gradient does not apply"
        verdict = "NOT homogeneous" if self.violated else "NOT SHOWN to be homogeneous"
        return f"{verdict} of degree {_number(self.tested_degree)}{found}"


class HomogeneityError(CaptumXGError, RuntimeError):
    """F is not positively homogeneous of the degree asked for, or not proven to be, so x·∇F/k is not given out.

    Attributes:
        report: The :class:`HomogeneityReport` with every number behind the verdict; None if no numeric check was asked
            for.
        certificate: The :class:`Certificate` that names what breaks it; None if none could be made.
    """

    def __init__(
        self, message: str, report: HomogeneityReport | None = None, certificate: Certificate | None = None
    ) -> None:
        super().__init__(message)
        self.report = report
        self.certificate = certificate

    def __reduce__(
        self,
    ) -> tuple[type[HomogeneityError], tuple[str, HomogeneityReport | None, Certificate | None]]:
        # Exceptions are rebuilt from their message alone, which would lose the rest between processes.
        return type(self), (str(self), self.report, self.certificate)


class HomogeneityWarning(UserWarning):
    """Issued instead of :class:`HomogeneityError` when the caller asked for ``on_violation="warn"``."""


def _number(x: float | None) -> str:
    return "?" if x is None else f"{x:g}"


def _row(name: str, examples: int, check: ScaleCheck | EulerCheck) -> tuple[str, ...]:
    numbers = (f"{check.observed:.6g}", f"{check.expected:.6g}")
    return (name, str(examples), check.mark, str(check.worst_example), *numbers)
