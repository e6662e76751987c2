"""Root mean squares of tokens, and division by them, where tokens may be zero.

The invariant: at zero, the size, the quotient, and all derivatives of both are zero. So the square is replaced before
the root and before the division, and the result once more after it: autograd multiplies the gradient of what was not
chosen by zero, and 0 · ∞ is not a number. NaN is not replaced.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mean_square(x: Tensor) -> Tensor:
    """Return the mean of the squares along the last dimension, which stays with length 1, in float32 at least.

    The squares of half precision leave its range; those of float32 are zero below 1e-23, and so are then the tokens.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32)).square().mean(-1, keepdim=True)


def root(square: Tensor) -> Tensor:
    """Return the square root of what is not negative, with derivatives zero at zero."""
    positive = square != 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)


def divided_by_root(x: Tensor, square: Tensor) -> Tensor:
    """Return x/√square in the dtype of ``square``, zero with zero derivatives where ``square`` is zero."""
    positive = square != 0
    # Root and division, not rsqrt: its derivative has the third power of the inverse, which float32 cannot hold.
    return torch.where(positive, x.to(square.dtype) / torch.where(positive, square, 1.0).sqrt(), 0.0)
