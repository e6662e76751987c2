"""Four ways to know the degree that X-Gradient divides by, by the names of its option ``validate``."""

from __future__ import annotations

from captum_xg.attr.measured import Measured
from captum_xg.attr.proven import Auto, Certified
from captum_xg.attr.trusted import Trusted

VALIDATIONS: dict[str, type[Trusted]] = {
    "auto": Auto,
    "numeric": Measured,
    "certificate": Certified,
    "off": Trusted,
}
"""The values of XGradient's option ``validate``."""
