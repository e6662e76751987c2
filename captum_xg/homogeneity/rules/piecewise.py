"""Piecewise linear through the origin: f(αx) = αf(x) for α > 0."""

from __future__ import annotations

from captum_xg.homogeneity.call import Call
from captum_xg.homogeneity.degree import Scaling
from captum_xg.homogeneity.registry import degree_rule


@degree_rule("relu", "abs", "leaky_relu", "rrelu_with_noise", elementwise=True)
def rectifier(call: Call) -> Scaling:
    """f(αx) = αf(x)."""
    return call.scaling("self")
