"""What is refused, or given up, where Integrated Gradients would have to be exact."""

from __future__ import annotations

from captum_xg.errors import CaptumXGError

ADVICE = (
    "AdaptiveIntegratedGradients takes its place for any model: it integrates to a tolerance, with the same arguments."
)


class NotPiecewiseLinearError(CaptumXGError, ValueError):
    """F is not shown to be continuous and piecewise linear along a path, with the gradient that autograd gives."""


class RegionLimitError(CaptumXGError, RuntimeError):
    """A path has more linear pieces than was allowed; no number is returned that is not exact."""
