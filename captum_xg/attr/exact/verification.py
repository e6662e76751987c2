"""The second witness of an exact integration: numbers that must agree if the analysis of operations was right.

The slope of F along a piece, which tangents gave, must be what the gradient says: they differ where autograd does not
differentiate F, at ``detach``, straight-through estimators, hooks and autograd functions of one's own. And neighbouring
pieces must meet: where a breakpoint was overlooked, the line from one side misses that from the other; where F
jumps, no integral of a gradient adds up to its change.
"""

from __future__ import annotations

import numpy as np

from captum_xg.attr.adaptive.samples import Array
from captum_xg.attr.exact.errors import ADVICE, NotPiecewiseLinearError
from captum_xg.attr.exact.walk import Pieces

_RTOL = 1e-8
"""Of what F changes by, or of the size of F: rounding in float64 is a hundred thousand times smaller, no jump is."""


def values_at_ends(pieces: Pieces) -> tuple[Array, Array]:
    """Return what the pieces say F is at their left and right ends."""
    left = pieces.values + pieces.slopes * (pieces.left - pieces.points)
    right = pieces.values + pieces.slopes * (pieces.right - pieces.points)
    return left, right


def require_agreement(pieces: Pieces, ends: Array, where: str, example: int) -> None:
    """Check the pieces of one path.

    Args:
        pieces: They.
        ends: F at the baseline and at the input.
        where: What messages begin with.
        example: Which example it is, for messages.

    Raises:
        NotPiecewiseLinearError: If slopes and gradients, or neighbouring pieces, do not agree.
    """
    total = float((pieces.sizes * (pieces.right - pieces.left)).sum())
    off = np.abs(pieces.slopes - pieces.expected) > _RTOL * (pieces.sizes + total)
    if off.any():
        i = int(np.argmax(off))
        raise NotPiecewiseLinearError(
            f"{where}: at α = {pieces.points[i]:.6g} on the path of example {example}, F changes by "
            f"{pieces.slopes[i]:.6g} per unit of α, and by {pieces.expected[i]:.6g} according to its gradient. "
            "Autograd does not differentiate F: look for detach, no_grad, straight-through estimators, hooks and "
            f"autograd functions of one's own. {ADVICE}"
        )
    left, right = values_at_ends(pieces)
    before, after = np.concatenate([ends[:1], right]), np.concatenate([left, ends[1:]])
    allowed = _RTOL * (np.abs(pieces.values).max() + np.abs(ends).max() + total)
    jumps = np.abs(after - before) > allowed
    if jumps.any():
        i = int(np.argmax(jumps))
        at = pieces.left[i] if i < len(pieces.left) else 1.0
        raise NotPiecewiseLinearError(
            f"{where}: F jumps from {before[i]:.6g} to {after[i]:.6g} at α = {at:.6g} on the path of example {example},"
            " so that no attributions by gradients add up to its change. A comparison, a rounding or a choice by size "
            f"that F depends on beside its gradient does that. {ADVICE}"
        )
