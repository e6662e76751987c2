"""What still stands in the way of an X-DNN after a conversion, in words that are true of the model as it is.

Two kinds of findings: what the certificate names (operations that break homogeneity), and what no single operation
shows: a degree that X-Gradient cannot use, examples that influence each other, numbers that are lost.

Certificates are taken with other numbers in the place of zeros, as training would put them there. So a bias that is
zero so far is found; but its size must be told of the numbers that are there, not of those that were put in.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from captum_xg._core.model_state import require_usable_state
from captum_xg.errors import ModelStateError
from captum_xg.homogeneity.certificate.certificate import Certificate, Violation
from captum_xg.xdnn.agreement import relative_difference
from captum_xg.xdnn.evidence import WHERE, Evidence, Examples, zero_so_far
from captum_xg.xdnn.registry import NotConvertible
from captum_xg.xdnn.report import Unconverted
from captum_xg.xdnn.stages import owner_of

_ROUNDING = 1e-3
"""What the outputs of one example may differ by, relative, between batches."""
_SIZE = re.compile(r" of up to [^\s;]+")


def unconverted(evidence: Evidence) -> tuple[Unconverted, ...]:
    """Return what still breaks homogeneity; what was refused as a whole is named once."""
    findings, progress = evidence.findings, evidence.progress
    if not findings:
        return ()
    modules = dict(evidence.model.named_modules())
    reasons = _reasons(evidence.attempt("as it is", evidence.examples.certificate))
    found: dict[object, Unconverted] = {}
    consequences = []  # what was converted breaks nothing but for what comes in
    for violation in findings:
        owner = owner_of(violation.module, modules, evidence.own_norms)
        path = violation.module if owner is None else owner.path
        refusal = progress.outcomes.get(path)
        if isinstance(refusal, NotConvertible) and path in modules:
            found.setdefault(path, Unconverted(path, type(modules[path]).__name__, refusal.reason, refusal.remedy))
            continue
        what, remedy = _told(violation, reasons, evidence.model)
        # Why its forward could not be rewritten belongs to what it does.
        reason = "; ".join(filter(None, (what, progress.obstacle(violation.module))))
        told = Unconverted(violation.module, violation.type, reason, remedy, violation.location)
        if progress.finished(violation.module):
            consequences.append(told)
        else:
            found[len(found), ""] = told
    return tuple(found.values()) or tuple(consequences)


def _reasons(certificate: Certificate) -> dict[tuple[str, str, str, str], str]:
    """Return the reasons of all findings, by module, operation, location and the reason without its sizes."""
    return {
        (found.module, op, location, _SIZE.sub("", reason)): reason
        for found in (*certificate.violations, *certificate.unsupported)
        for op, location, reason in ((found.op, found.location, found.reason), *found.further)
    }


def _told(violation: Violation, reasons: dict[tuple[str, str, str, str], str], model: nn.Module) -> tuple[str, str]:
    """Return (reason, remedy) of a finding that was made with numbers in the place of zeros, true without them."""
    kind = _SIZE.sub("", violation.reason)
    known = reasons.get((violation.module, violation.op, violation.location, kind))
    if known is not None:
        return known, violation.without_conversion  # which has just been tried
    prefix = f"{violation.module}." if violation.module else ""
    inside = [name.removeprefix(prefix) for name in zero_so_far(model) if name.startswith(prefix)]
    # Its own parameters break it sooner than those of modules in it; where neither are zero, some before it are.
    zero = [name for name in inside if "." not in name] or inside
    names = ", ".join(zero[:3]) + ", …" * (len(zero) > 3) or "parameters before it"
    return (
        f"breaks nothing as long as what is zero so far ({names}) stays zero, but once that is trained {kind}",
        "Leave it out (bias=False), or keep it at zero as a buffer, which is not trained",
    )


def wrong_degree(certificate: Certificate, name: str, *, converted: bool) -> tuple[Unconverted, ...]:
    """Return that a model is homogeneous of a degree that X-Gradient cannot use, or that came by converting it.

    Args:
        certificate: The model's.
        name: Its class.
        converted: Whether modules of it were converted.
    """
    k = certificate.degree
    if not certificate.homogeneous or k is None or k == 1 or (k > 1 and not converted):
        return ()
    if k < 1:
        what = f"has degree {k:g}, below 1, so that its output does not grow with the input"
        remedy = (
            "Look for what divides by the size of its own input (a norm, a cosine, a standard deviation), and "
            "explain what comes before it"
        )
    else:
        what = f"has degree {k:g}: values that both scale with the input are multiplied, where one was a gate"
        remedy = "Register a conversion for the module with that gate (register_conversion), of degree 0"
    return (Unconverted("", name, what, remedy),)


def damage(evidence: Evidence, original: nn.Module) -> tuple[Unconverted, ...]:
    """Return what the converted model does that the original does not do, and whether it lost numbers."""
    model, examples, found = evidence.model, evidence.examples, []
    zeros = tuple(torch.zeros_like(x) for x in examples.inputs)
    with torch.no_grad():
        for where, inputs in (("on the examples", examples.inputs), ("where its input is zero", zeros)):
            if not _finite(examples, model, inputs) and _finite(examples, original, inputs):
                what = f"is not finite {where}, where the original is"
                found.append(
                    (what, "Look for divisions by, and logarithms of, what was kept from being zero by a constant")
                )
        if _mixes_examples(examples, model) and not _mixes_examples(examples, original):
            what = "lets examples of a batch influence each other: norms and gates take dimension 0 for the batch"
            found.append((what, "Put the batch first before norms and gates, or use HomogeneousExtension(model)"))
    try:  # variances were below zero, or products left the range of the dtype
        require_usable_state(model, WHERE)
    except ModelStateError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:-1]]
        what = f"would hold numbers that are not finite: {'; '.join(lines)}"
        found.append((what, "Look at the running variances of its batch norms, or convert it in float32"))
    return tuple(Unconverted("", evidence.name, what, remedy) for what, remedy in found)


def has_finite_gradient(examples: Examples, model: nn.Module) -> bool:
    """Return whether the gradient is finite; it fails where a layer's result is overwritten that autograd needs."""
    with torch.enable_grad():
        inputs = tuple(x.clone().requires_grad_() for x in examples.inputs)
        outputs = [y for y in examples.run(model, *(x.clone() for x in inputs)) if y.requires_grad]
        if not outputs:
            return True
        ones = [torch.ones_like(y) for y in outputs]
        gradients = torch.autograd.grad(outputs, inputs, ones, allow_unused=True)
    return all(g is None or bool(torch.isfinite(g).all()) for g in gradients)


def _finite(examples: Examples, model: nn.Module, inputs: tuple[Tensor, ...]) -> bool:
    try:
        return all(bool(torch.isfinite(y).all()) for y in examples.run(model, *(x.clone() for x in inputs)))
    except Exception:  # whatever a model raises at zero; what it raises on the examples was raised before
        return False


def _mixes_examples(examples: Examples, model: nn.Module) -> bool:
    """Return whether the first example's output changes with another example in the batch."""
    # As many examples as were given, where the model takes no two: it may have arguments or views of that size.
    for count in (2, max(2, len(examples))):
        try:
            same = tuple(x[:1].expand(count, *x.shape[1:]).clone() for x in examples.inputs)
            # The first row stays to the bit, so what differs in its output came from the others.
            other = tuple(torch.cat([x[:1], 3 * x[1:]]) for x in same)
            # The rows of the first example, which may have several.
            alone, beside = ([y[: max(1, len(y) // count)] for y in examples.run(model, *xs)] for xs in (same, other))
        except Exception:  # models that take another batch size only
            continue
        return any(not relative_difference(a, b) <= _ROUNDING for a, b in zip(alone, beside, strict=True))
    return False
