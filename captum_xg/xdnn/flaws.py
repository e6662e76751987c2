"""What is wrong with a result that none of its operations shows: its degree, and numbers that were lost."""

from __future__ import annotations

from torch import nn

from captum_xg._core.model_state import require_usable_state
from captum_xg.errors import ModelStateError
from captum_xg.homogeneity.certificate.certificate import Certificate
from captum_xg.xdnn.report import Unconverted


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


def numbers_lost(model: nn.Module, name: str) -> tuple[Unconverted, ...]:
    """Return that parameters are not finite any more: variances were below zero, or products left the dtype's range."""
    try:
        require_usable_state(model, "to_xdnn")
    except ModelStateError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:-1]]
        what = f"would hold numbers that are not finite: {'; '.join(lines)}"
        return (
            Unconverted("", name, what, "Look at the running variances of its batch norms, or convert it in float32"),
        )
    return ()
