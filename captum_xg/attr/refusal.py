"""Messages of refusals: what was found, where in the model, and what to do."""

from __future__ import annotations

import math

import torch

from captum_xg._core.simple_fractions import simple_fraction
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.homogeneity.certificate.confronted import is_contradicted
from captum_xg.homogeneity.check.report import HomogeneityReport
from captum_xg.homogeneity.scaling.checks import format_scale


def refusal_message(report: HomogeneityReport, where: str) -> str:
    """Return the message for a call whose forward function is not homogeneous of the degree asked for."""
    k = report.tested_degree if report.tested_degree is not None else 1.0
    power, result = _formulas(k)
    if not report.violated:
        lines = [
            f"{where}: it could not be tested that F(αx) = {power}F(x), so nothing is known about {result}.",
            *[f"  α = {format_scale(u.scale)} on {u.examples} examples: {u.reason}." for u in report.unused],
            "  Rescale the inputs or use a dtype with a wider range.",
        ]
        return "\n".join(lines)
    found = f"F(αx) ≠ {power}F(x)" if not report.values_hold else "the gradient does not belong to a homogeneous F"
    lines = [f"{where}: {found}, so {result} is not Integrated Gradients of this forward function."]
    lines += _worst(report, power)
    shown = _shown_degree(report)
    if shown is not None and shown != k and shown >= 1:
        lines.append(f"  F shows degree {shown:g}: use {_method(where)}(…, degree={shown:g}).")
    lines += [f"  {note}" for note in report.notes]
    lines += report.culprit_lines()
    fixes = []
    if report.culprits:
        fixes = ["fix what is named above, and try again, as further problems may only show then"]
    elif report.notes:
        fixes = ["fix what is named above"]
    return "\n".join([*lines, *what_to_do(where, result, fixes), "  check_homogeneity(…) prints all numbers."])


def uncertified_message(certificate: Certificate, degree: float | None, where: str, changed: str = "") -> str:
    """Return the message for a call whose forward function is not certified to have the degree asked for.

    Args:
        certificate: What is known of it.
        degree: The one asked for.
        where: The public name that the message begins with.
        changed: What has changed since an earlier call, for which there was a proof.
    """
    k = 1.0 if degree is None else degree
    power, result = _formulas(k)
    if certificate.homogeneous:
        proven = certificate.degree or 0.0
        hint = (
            f"Use {_method(where)}(…, degree={proven:g})."
            if proven >= 1
            else "X-Gradient needs a degree of at least 1."
        )
        return f"{where}: F is proven to be homogeneous of degree {proven:g}, not {k:g}. {hint}"
    found = {
        "disproved": f"F(αx) = {power}F(x) does not hold, so {result} is not Integrated Gradients of this function.",
        "unknown": f"F(αx) = {power}F(x) could not be proven, so {result} is not known to be Integrated Gradients.",
    }[certificate.verdict]
    # Numbers that took a proof away are more than those of the numeric check, which may have held.
    settled = bool(certificate.violations) or is_contradicted(certificate)
    untold = [] if settled else ["validate='numeric' tests F(αx) on every input, and asks for no proof"]
    return "\n".join(
        [
            f"{where}: {found}",
            *([f"  {changed}"] if changed else []),
            *certificate.finding_lines(most=10),
            *what_to_do(where, result, [*untold, "fix what is named above"]),
            "  certify(…) gives the whole certificate.",
        ]
    )


def changed_since(written_to: list[str]) -> str:
    """Return what is said where a proof of an earlier call stood until its numbers failed.

    Args:
        written_to: The names of parameters and buffers that are not what they were.
    """
    said = "F was proven to be homogeneous at an earlier call, and has changed since"
    if not written_to:
        return (
            f"{said} without the model showing it: a global, an attribute of a class or a function that was replaced, "
            "a file, or something around this call alone, such as hooks on saved tensors."
        )
    more = f" and {len(written_to) - 3} more" if len(written_to) > 3 else ""
    return f"{said}. Written to in the meantime: {', '.join(written_to[:3])}{more}; or something the model hides."


def disagreement(degree: float | None) -> str:
    """Return what is said where a proof and the numbers of the same call disagree."""
    return (
        f"The two disagree: op by op F is proven to be homogeneous of degree {degree or 1:g}, and these numbers say "
        "that it is not. Something acts that the proof does not see (memory shared with NumPy, hooks, threads, state "
        "that F keeps), or intermediate values leave the range or the digits of the dtype (then float64 helps)."
    )


def _shown_degree(report: HomogeneityReport) -> float | None:
    """Return the degree that F shows, to what its dtype resolves of it."""
    if report.degree is None or not report.dtypes:
        return report.degree
    # A relative error of F(αx) moves log F(αx)/log α by that much.
    steps = max((abs(math.log2(check.scale)) for check in report.scales), default=1.0)
    return simple_fraction(report.degree, 4 * torch.finfo(report.dtypes[0]).eps ** 0.5 / steps, 12)


def what_to_do(where: str, result: str, fixes: list[str]) -> list[str]:
    """Return the ways out of a refusal, a line for each, the one that always works first.

    Args:
        where: The public name that the message begins with.
        result: The attribution that was refused.
        fixes: What would make it right.
    """
    numbers = "gives Integrated Gradients of this function as it is"
    if _method(where) == "ExpectedXGradient":  # whose path has a corner
        numbers = "integrates this function as it is, by way of zero"
    return [
        "  What to do:",
        f"    on_violation='integrate' {numbers}, to 1 %, detached;",
        *(f"    or {fix};" for fix in fixes),
        f"    or on_violation='warn' returns {result}, which is then something else.",
    ]


def _method(where: str) -> str:
    return where.partition(".")[0]


def _formulas(k: float) -> tuple[str, str]:
    """Return the factor of F(x), and the attribution, as they are written for degree k."""
    return ("α", "x·∇F(x)") if k == 1 else (f"α^{k:g}·", f"x·∇F(x)/{k:g}")


def _worst(report: HomogeneityReport, power: str) -> list[str]:
    failed = [check for check in report.scales if not check.holds]
    if failed:
        worst = max(failed, key=lambda s: s.max_deviation)
        return [
            f"  Worst: example {worst.worst_example} at α = {format_scale(worst.scale)}: F(αx) = {worst.observed:.6g}, "
            f"{power}F(x) = {worst.expected:.6g} (relative deviation {worst.max_deviation:.1e}, "
            f"tolerance {worst.tolerance:.1e})."
        ]
    gradient, euler = report.gradient, report.euler
    if gradient is not None and not gradient.holds:
        return [
            f"  Worst: example {gradient.worst_example}: F is zero along its whole ray, but at α = "
            f"{format_scale(gradient.scale)} its gradient does not scale as that degree asks: Σ|x·∂F(αx)| = "
            f"{gradient.observed:.6g}, expected {gradient.expected:.6g}."
        ]
    if euler is None:
        return []
    return [
        f"  Worst: example {euler.worst_example}: Σ x·∂F = {euler.observed:.6g}, but kF(x) = {euler.expected:.6g} "
        f"(relative deviation {euler.max_deviation:.1e}, tolerance {euler.tolerance:.1e})."
    ]
