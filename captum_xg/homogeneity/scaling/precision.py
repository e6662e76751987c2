"""Scales and tolerances of each floating dtype: how far apart scales may be, and how exact agreement must be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Multiplying by 2ᵐ is exact and commutes with every rounding of a homogeneous op, as long as nothing leaves the dtype's
# range. So the widest m that ordinary activations survive is best: it magnifies a constant b added anywhere to 2ᵐ·b.
_EXPONENT = {torch.float64: 32, torch.float32: 16, torch.bfloat16: 16, torch.float16: 4}


@dataclass(frozen=True)
class Precision:
    """What a computation in some dtype can resolve.

    Attributes:
        dtype: The coarsest dtype that takes part.
        exponent: The largest m of the default scales 2⁻ᵐ and 2ᵐ for degree 1.
        rtol: Largest relative deviation of F(αx) from αᵏF(x) that counts as rounding, α a power of two. Homogeneous ops
            that round by their relative size deviate by exactly 0, in every precision; the slack is for powers, roots
            and logarithms, and for accelerators that add in varying order. It is 8 eps, and 1 eps where eps is large.
        euler_rtol: Largest relative deviation of Σ x·∂F from kF that counts as rounding. The two sides are
            different sums, so this cannot be bit-tight. Measured on torchvision's bias-free networks: 40 times
            smaller and more.
        inexact_rtol: The same for what is rounded in unknown ways: α that are no powers of two, gradients, repeated
            runs.
        tf32: Whether float32 products may be rounded to the 10 bits of TF32, as CUDA's convolutions are by default.
            That commutes with powers of two as any rounding does, but sums differ by it.
    """

    dtype: torch.dtype
    exponent: int
    rtol: float
    euler_rtol: float
    inexact_rtol: float
    tf32: bool = False

    @classmethod
    def of(cls, *tensors: Tensor, inner: Iterable[torch.dtype] = ()) -> Precision:
        """Return the precision of the coarsest dtype among the tensors, those named, and autocast's where it is on."""
        dtypes = {t.dtype for t in tensors} | set(inner)
        for device in {t.device.type for t in tensors}:
            if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
                dtypes.add(torch.get_autocast_dtype(device))
        coarsest = max((d for d in dtypes if d in _EXPONENT), key=lambda d: (torch.finfo(d).eps, -_EXPONENT[d]))
        # float16 under- and overflows long before bfloat16 rounds, whichever of the two is coarser.
        exponent = min(_EXPONENT[d] for d in dtypes if d in _EXPONENT)
        eps = torch.finfo(coarsest).eps
        rtol = eps if eps > 1e-4 else 8 * eps
        tf32 = coarsest == torch.float32 and any(t.is_cuda for t in tensors) and _tf32_allowed()
        of_sums = 2.0**-10 if tf32 else eps
        return cls(coarsest, exponent, rtol, euler_rtol=of_sums ** (2 / 3), inexact_rtol=of_sums**0.5, tf32=tf32)

    @property
    def last_digit(self) -> float:
        """Two last digits of a number below the dtype's normal range: all that F can be expected to keep there."""
        limits = torch.finfo(self.dtype)
        return 2 * limits.tiny * limits.eps

    def with_rtol(self, rtol: float) -> Precision:
        """Return the same with another tolerance for powers of two, and none of the others tighter than that."""
        return replace(
            self, rtol=rtol, euler_rtol=max(rtol, self.euler_rtol), inexact_rtol=max(rtol, self.inexact_rtol)
        )

    def default_scales(self, degree: float | None, *, thorough: bool) -> tuple[float, ...]:
        """Return one scale on each side of 1, far from it; if thorough three on each side, from far to near."""
        m = self.exponent_for(degree or 1.0)
        exponents = {-m, m} | ({-max(m // 2, 1), -1, 1, max(m // 2, 1)} if thorough else set())
        return tuple(2.0**e for e in sorted(exponents))

    def exponent_for(self, degree: float) -> int:
        """Return the largest m to use for degree k, so that 2ᵐᵏ stays where 2ᵐ would be for degree 1.

        Even where possible, so that square roots of 2ᵐ are powers of two as well.
        """
        m = max(1, int(self.exponent / max(1.0, degree)))
        return m - m % 2 if m > 1 else m


def _tf32_allowed() -> bool:
    try:
        return bool(torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
    except RuntimeError:  # set by the newer of two interfaces, which the older one then does not answer for
        return True
