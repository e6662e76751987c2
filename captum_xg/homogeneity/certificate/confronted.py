"""Certificates after a confrontation with numbers: with what they stood up to, or unknown with what was seen.

What must never happen: a certificate that a number contradicts. And numbers never prove: they only take a proof away.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from captum_xg.homogeneity.certificate.certificate import Certificate, Violation
from captum_xg.homogeneity.certificate.outputs import Output, chosen_outputs
from captum_xg.homogeneity.scaling.confrontation import Confrontation

_SEEN = "scales at every operation that was seen, but the example contradicts that: "


def confronted(claim: Certificate, confrontation: Confrontation) -> Certificate:
    """Return the certificate with what it was confronted with, or unknown if that contradicts it."""
    if not confrontation.contradiction:
        return replace(claim, confrontation=confrontation)
    unknown = replace(claim, homogeneous=False, degree=None, identically_zero=False)
    return replace(unknown, unsupported=[contradicted(confrontation.contradiction)], confrontation=confrontation)


def contradicted(what: str) -> Violation:
    """Return the finding that a proof and numbers contradict each other."""
    return Violation(
        "",
        "",
        "",
        f"{_SEEN}{what}. Something was not seen",
        "Look for state that the forward pass keeps, values that leave PyTorch, hooks, or other threads",
    )


def is_contradicted(certificate: Certificate) -> bool:
    """Return whether nothing but numbers speaks against a certificate."""
    return certificate.confrontation is not None and not certificate.confrontation.holds


def in_float64(
    forward_func: Callable[..., object], additional: tuple[object, ...], output: Output, where: str
) -> Callable[[tuple[Tensor, ...]], list[Tensor]] | None:
    """Return F in float64: a copy of a module, or the function itself, which may compute in what it is given."""
    try:
        wide = copy.deepcopy(forward_func).double() if isinstance(forward_func, nn.Module) else forward_func
    except Exception:  # what cannot be copied stays in its dtype
        return None
    arguments = [
        value.double() if isinstance(value, Tensor) and value.dtype.is_floating_point else value for value in additional
    ]

    def run(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        return chosen_outputs(wide(*inputs, *arguments), output, where)

    return run
