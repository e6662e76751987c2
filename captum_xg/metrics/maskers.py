"""Maskers under the name by which they are imported; see :mod:`captum_xg.metrics.masking.maskers`."""

from captum_xg.metrics.masking.maskers import *  # noqa: F403
from captum_xg.metrics.masking.maskers import __all__  # noqa: F401
