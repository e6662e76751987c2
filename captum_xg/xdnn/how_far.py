"""How far a model, as it is, is from one whose Integrated Gradients take one gradient: numbers for one page."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from captum_xg._core.captum_compat import IntegratedGradients
from captum_xg._core.inputs import format_inputs
from captum_xg._core.text import Table, displayed
from captum_xg._core.types import ForwardFunction, Target
from captum_xg.attr import AdaptiveIntegratedGradients, ExactIntegratedGradients, JointXGradient, XGradient
from captum_xg.attr.adaptive.report import IntegrationWarning
from captum_xg.attr.exact.errors import NotPiecewiseLinearError, RegionLimitError
from captum_xg.attr.exact.steps import first_within
from captum_xg.attr.integrated import first_sentence
from captum_xg.errors import CaptumXGError
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.certify import certify
from captum_xg.homogeneity.ledger.bias_ledger import bias_ledger
from captum_xg.homogeneity.ledger.result import BiasLedger
from captum_xg.xdnn.convert import to_xdnn
from captum_xg.xdnn.report import ConversionReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = (5, 10, 20, 50, 100, 200, 300, 500, 1000)
"""Numbers of steps that are tried where the exact integral is not to be had."""
_REFERENCE = 1e-3
TOLERANCES = (0.01, 0.05)


@displayed
@dataclass(frozen=True, eq=False)
class Distance:
    """How far a model is from an X-DNN, measured on some examples; ``str()`` is a page of text.

    Attributes:
        name: The model.
        certificate: What is proven of F in x.
        jointly: What is proven of F in x and its constants together.
        ledger: F(x) as the sum of what inputs and constants carry.
        integral: Integrated Gradients of x against zero.
        how: How they were integrated, in words.
        reference_error: The relative error that they have themselves; 0 where they are exact.
        input_x_gradient: x·∂F/∂x, of the same shape.
        steps: The numbers of steps of Captum's Integrated Gradients that were tried, int64, ascending.
        errors: Their relative error ‖IG(n) − IG‖₂/‖IG‖₂, float64, shape ``(N, len(steps))``.
        conversion: What :func:`~captum_xg.to_xdnn` would change; None if it cannot run.
        refused: Why it cannot, ``""`` if it can.
    """

    name: str
    certificate: Certificate
    jointly: Certificate
    ledger: BiasLedger
    integral: Tensor
    how: str
    reference_error: float
    input_x_gradient: Tensor
    steps: Tensor
    errors: Tensor
    conversion: ConversionReport | None
    refused: str

    @property
    def apart(self) -> Tensor:
        """Σ|x·∂F/∂x − IG| / Σ|IG| of each example, shape ``(N,)``: 0 in an X-DNN, ∞ where only IG are zero."""
        difference, whole = (_flat(t).abs().sum(1) for t in (self.input_x_gradient - self.integral, self.integral))
        return torch.where(difference > 0, difference / whole, difference)

    def steps_for(self, rtol: float) -> Tensor:
        """Return from how many of the tried steps on the error stays within a tolerance; infinity where none does."""
        return first_within(rtol, self.steps.tolist(), self.errors)

    def plot(self) -> Figure:
        """Draw what each constant carries, and how the error of Captum's method falls with its steps."""
        from captum_xg._core.figures import new_figure, plain_log_ticks

        figure = new_figure(12.5, 5.2)
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        self.ledger.plot(left, most=14)
        rows = self.errors.clamp_min(1e-16)
        right.fill_between(self.steps, rows.amin(0), rows.amax(0), alpha=0.2, linewidth=0, label="all examples")
        right.plot(self.steps, rows.median(0).values, marker="o", markersize=3, label="median")
        for rtol in TOLERANCES:
            right.axhline(rtol, color="0.4", linestyle="--", linewidth=1)
            right.annotate(f"{rtol:.0%}", (float(self.steps[0]), rtol), fontsize=9, va="bottom")
        right.set(xscale="log", yscale="log", xlabel="steps of Integrated Gradients (Gauss–Legendre)")
        right.set(ylabel="‖IG(n) − IG‖ / ‖IG‖", title="Error of Captum's Integrated Gradients")
        plain_log_ticks(right.xaxis)
        right.legend(frameon=False, fontsize=9)
        return figure

    def _parts(self) -> list[str | Table]:
        n = len(self.integral)
        share = self.ledger.share
        known = "" if self.ledger.exact else "; what they do not explain is larger than rounding"
        rows = [
            ("F(αx) = αᵏF(x)?", _proof(self.certificate)),
            ("F(αx; αc) = αᵏF(x; c)?", _proof(self.jointly)),
            ("constants carry", f"{_range(100 * share, '{:.0f} %')} of the prediction{known}"),
            ("IG of x against 0", self.how),
            ("x·∂F/∂x differs by", f"{_range(100 * self.apart, '{:.1f} %')} of it (sum of absolute differences)"),
        ]
        for rtol in TOLERANCES:
            rows.append((f"IG within {rtol:.0%} takes", f"{_range(self.steps_for(rtol))} steps"))
        rows.append(("to_xdnn", self._conversion()))
        lines: list[str | Table] = [f"{self.name}, {n} example{'s' * (n != 1)}: how far from an X-DNN"]
        lines.append(Table(rows, left=2, indent=2))
        lines += [f"  {line}" for line in self._advice()]
        return lines

    def _conversion(self) -> str:
        report = self.conversion
        if report is None:
            return f"cannot run: {self.refused}"
        inexact = sum(not change.exact for change in report.changes)
        said = f"{len(report.changes) - inexact} exact and {inexact} inexact changes"
        if report.unconverted:
            names = ", ".join(f"{u.module or 'the model itself'} ({u.type})" for u in report.unconverted[:3])
            return f"{said}; not converted: {names}"
        if not report.changes:
            return "nothing to change"
        top1 = [each.top1 for each in report.agreement if each.top1 is not None]
        return f"{said}; same top-1 before any training: {top1[-1]:.0%}" if top1 else said

    def _advice(self) -> list[str]:
        if self.certificate.covers(1):
            return ["XGradient is exact for it: one gradient."]
        degree = self.certificate.degree
        if self.certificate.homogeneous and degree is not None and degree > 1:
            return [f"XGradient(model, degree={degree:g}) is exact for it: one gradient."]
        ways = ["XGradient(model, on_violation='integrate') for Integrated Gradients of x, to 1 %"]
        if "exact" in self.how:
            ways.append("ExactIntegratedGradients for them without error")
        if self.jointly.homogeneous and self.jointly.degree in (None, 1):
            ways.append("JointXGradient for what x and the constants carry together, one gradient")
        if self.conversion is not None and not self.conversion.unconverted:
            ways.append("to_xdnn and fine_tune for a model that needs one gradient")
        return ["What to use:", *(f"  * {way}" for way in ways)]


def distance(
    model: ForwardFunction,
    inputs: Tensor,
    target: Target = None,
    *,
    max_regions: int = 5000,
    name: str = "",
) -> Distance:
    """Measure how far a model is from an X-DNN, on some examples.

    Args:
        model: A module or any callable, in evaluation mode.
        inputs: Shape ``(N, …)``.
        target: Which output is explained.
        max_regions: The most linear regions of one example for which Integrated Gradients are exact; with more they,
            and those of other models, are integrated to 0.1 %.
        name: What it is called.

    Raises:
        CaptumXGError: If model or inputs are unsuitable; see :class:`~captum_xg.XGradient`.
    """
    (x,) = format_inputs(inputs, "distance")
    certificate, jointly = certify(model, x), certify(model, x, jointly=True)
    joint = jointly.homogeneous and jointly.degree == 1
    ledger = JointXGradient(model).attribute(x, target).ledger() if joint else bias_ledger(model, x, target)
    products = XGradient(model, validate="off").attribute(x, target=target)
    integral, how, error, steps, errors = _integrated(model, x, target, max_regions)
    conversion, refused = None, ""
    try:
        if not isinstance(model, nn.Module):
            raise TypeError("it is no torch.nn.Module.")
        conversion = to_xdnn(model, x, strict=False)[1]
    except Exception as failure:  # of the user's model, which runs on other examples
        refused = first_sentence(failure) if isinstance(failure, CaptumXGError) else str(failure)
    return Distance(
        name or type(model).__name__,
        certificate,
        jointly,
        ledger,
        integral,
        how,
        error,
        products,
        steps,
        errors,
        conversion,
        refused,
    )


def _integrated(
    model: ForwardFunction, x: Tensor, target: Target, max_regions: int
) -> tuple[Tensor, str, float, Tensor, Tensor]:
    """Return the integral, how it came about, its own error, and steps that were tried with their errors."""
    exact = ExactIntegratedGradients(model, max_regions=max_regions)
    try:
        integral, report = exact.attribute(x, target=target, return_report=True)
        needed = exact.steps_needed(x, target=target, most=STEPS[-1])
        regions = "1 linear region" if int(report.regions.max()) == 1 else f"{_range(report.regions)} linear regions"
        return integral, f"exact, {regions}", 0.0, needed.tried, needed.errors
    except RegionLimitError:
        reason = f"more than {max_regions} linear regions"
    except NotPiecewiseLinearError as refusal:
        reason = first_sentence(refusal).removeprefix("ExactIntegratedGradients.attribute: ").partition(": it is ")[0]
    adaptive = AdaptiveIntegratedGradients(model, rtol=_REFERENCE, max_evaluations=8192)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrationWarning)
        integral, taken = adaptive.attribute(x, target=target, return_report=True)
    error = float(taken.estimated_error.max())
    size, columns = _flat(integral).norm(dim=1).clamp_min(1e-300), list[Tensor]()
    for n in STEPS:
        found = IntegratedGradients(model).attribute(x, target=target, n_steps=n, internal_batch_size=max(64, len(x)))
        columns.append(_flat(found - integral).norm(dim=1) / size)
        if all(bool((column <= min(TOLERANCES)).all()) for column in columns[-2:]) and len(columns) > 1:
            break  # from there on more steps bring more gradients, and no more answers
    how = f"to an estimated {error:.1e}, from {_range(taken.evaluations)} gradients ({reason})"
    return integral, how, error, torch.tensor(STEPS[: len(columns)]), torch.stack(columns, 1).cpu()


def _flat(attributions: Tensor) -> Tensor:
    return attributions.double().reshape(len(attributions), -1)


def _proof(certificate: Certificate) -> str:
    if certificate.homogeneous:
        n = len(certificate.jointly)
        constants = f", {n} constant{'s' * (n != 1)}" if n else ""
        return f"yes, proven (degree {certificate.degree or 0:g}{constants})"
    found = certificate.violations or certificate.unsupported
    named = ", ".join(f"{v.module or 'the model itself'} ({v.type or v.op})" for v in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    answer = "no" if certificate.verdict == "disproved" else "unknown"
    return f"{answer}: {named}{more}" if named else answer


def _range(values: Tensor, form: str = "{:.0f}") -> str:
    """Return the median and, in parentheses, smallest and largest."""
    low, middle, high = (form.format(float(v)) for v in (values.min(), median(values.tolist()), values.max()))
    low, middle, high = (f"> {STEPS[-1]}" if v == "inf" else v for v in (low, middle, high))
    return middle if low == high else f"{middle} ({low} to {high})"
