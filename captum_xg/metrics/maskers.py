"""Maskers: what masked features are replaced with."""

from captum_xg.metrics.masking.maskers import *  # noqa: F403
from captum_xg.metrics.masking.maskers import __all__  # noqa: F401
