"""Curved: functions of each number by itself that have no degree, so that they need an argument that α does not change.

A function of one number has a degree only if it is a power on either side of zero (arithmetic, piecewise linear), or
constant there (comparison); every other one is curved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from captum_xg.homogeneity.degree import Reason, Scaling, nonlinear_of
from captum_xg.homogeneity.rules.common import given, nonlinear_together
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.piecewise import RECTIFIER
from captum_xg.homogeneity.rules.registry import degree_rule

_POLYNOMIALS = tuple(
    f"special_{family}_polynomial_{kind}"
    for family, kinds in (
        ("chebyshev", "tuvw"),
        ("shifted_chebyshev", "tuvw"),
        ("hermite", ("h", "he")),
        ("laguerre", "l"),
        ("legendre", "p"),
    )
    for kind in kinds
)

_BESSEL = (
    *("i0", "special_i0e", "special_i1", "special_i1e", "special_airy_ai", "special_spherical_bessel_j0"),
    *(f"special_bessel_{kind}" for kind in ("j0", "j1", "y0", "y1")),
    *(f"special_modified_bessel_{kind}" for kind in ("i0", "i1", "k0", "k1")),
    *(f"special_scaled_modified_bessel_{kind}" for kind in ("k0", "k1")),
)

# Operations, what they do, the remedy, and the factor on the degree of what would stand there instead.
_TABLE: tuple[tuple[tuple[str, ...], str, str, float | None], ...] = (
    (
        ("gelu", "silu", "mish", "softplus", "celu"),
        "is curved, so its slope changes with α",
        RECTIFIER,
        1.0,
    ),
    (("hardswish",), "changes its slope at fixed values, which αx passes", RECTIFIER, 1.0),
    (
        ("sigmoid", "tanh", "erf", "erfc", "special_erfcx", "atan"),
        "saturates, so a large enough αx no longer counts",
        RECTIFIER,
        0.0,
    ),
    (("hardsigmoid",), "saturates at fixed values, so a large enough αx is cut off", RECTIFIER, 0.0),
    (
        ("exp", "exp2", "expm1", "sinh", "cosh"),
        "takes an exponential, and that of αx is no multiple of that of x",
        "Explain what it is taken of instead",
        0.0,
    ),
    (
        ("log", "log2", "log10", "log1p", "special_log_ndtr", "asinh", "acosh"),
        "takes a logarithm, which α shifts instead of scaling it",
        "Explain what it is taken of instead",
        0.0,
    ),
    (("logit",), "takes a logarithm of odds, which does not scale", "Explain what it is taken of instead", 0.0),
    (
        ("logaddexp", "logaddexp2"),
        "takes a smooth maximum, which is sharper for larger α",
        "Use torch.maximum",
        1.0,
    ),
    (("special_entr",), "multiplies by a logarithm, which α shifts", "Leave it out", 1.0),
    (("sin", "cos", "tan", "sinc"), "is periodic, so it does not scale", "Leave it out", 0.0),
    (
        ("asin", "acos", "atanh", "erfinv", "special_ndtri"),
        "is defined on a fixed interval only, which αx leaves",
        "Leave it out",
        0.0,
    ),
    (
        ("lgamma", "mvlgamma", "digamma", "polygamma", "igamma", "igammac", "special_zeta"),
        "takes a gamma or zeta function, which does not scale",
        "Leave it out",
        0.0,
    ),
    (_BESSEL, "takes a Bessel or Airy function, which does not scale", "Leave it out", 0.0),
    (_POLYNOMIALS, "takes a polynomial with terms of different degree", "Leave it out", 0.0),
    (("nextafter",), "goes on to the next floating-point number, in steps that do not scale", "Leave it out", 1.0),
)


def _curved(reason: Reason, otherwise: float | None) -> Callable[[OpCall], Scaling]:
    def curved(call: OpCall) -> Scaling:
        return nonlinear_together(*given(call), reason=reason, otherwise=otherwise)

    return curved


for _names, _what, _remedy, _otherwise in _TABLE:
    degree_rule(*_names, elementwise=True)(_curved(Reason(_what, _remedy), _otherwise))


@degree_rule("elu", elementwise=True)
def elu(call: OpCall) -> Scaling:
    """A multiple of x where that is positive, and of an exponential elsewhere; without the latter, piecewise linear."""
    if call["alpha"] == 0:
        return call.scaling("self")
    reason = Reason("is curved, so its slope changes with α", RECTIFIER)
    return nonlinear_of(call.scaling("self"), reason, otherwise=1.0)


@degree_rule("glu")
def gated(call: OpCall) -> Scaling:
    """One half times the sigmoid of the other."""
    reason = Reason("multiplies by a sigmoid, which saturates", "Replace the gate by a constant, or by a ReLU")
    return nonlinear_of(call.scaling("self"), reason, otherwise=1.0)


@degree_rule("log_sigmoid_forward")
def log_sigmoid(call: OpCall) -> Scaling:
    """A smooth minimum of x and zero; the second result is kept for the backward pass."""
    reason = Reason("is curved, so its slope changes with α", RECTIFIER)
    return nonlinear_of(call.scaling("self"), reason, otherwise=1.0)


@degree_rule("frexp", elementwise=True)
def mantissa_and_exponent(call: OpCall) -> Sequence[Scaling]:
    """Splits at powers of two."""
    reason = Reason("splits numbers at powers of two, which αx passes", "Leave it out")
    parts = nonlinear_of(call.scaling("self"), reason)
    return parts, parts.in_steps()
