"""Passes of F at other inputs, and what is compared of them: all output numbers as one vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg.homogeneity.scaling.footprints import Run


def values_of(run: Run, inputs: tuple[Tensor, ...]) -> Tensor | None:
    """Return F's output as one vector, None if it does not run at these inputs."""
    try:
        with torch.no_grad():
            return vector_of(run(tuple(x.detach().clone() for x in inputs)))
    except Exception:  # F may need gradients inside (hooks, derivatives), or may refuse such inputs
        try:
            with torch.enable_grad():
                return vector_of(run(handles_of(inputs)[1]))
        except Exception:
            return None


def vector_of(outputs: Sequence[Tensor]) -> Tensor:
    """Return all numbers of outputs as one float64 vector on the CPU."""
    parts = [torch.view_as_real(y.resolve_conj()) if y.dtype.is_complex else y for y in outputs]
    return torch.cat([y.detach().reshape(-1).double().cpu() for y in parts]) if parts else torch.empty(0)


def handles_of(inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return leaves to differentiate by, and clones of them, which F may overwrite and autograd has a node for."""
    leaves = tuple(x.detach().clone().requires_grad_() for x in inputs)
    return leaves, tuple(leaf.clone() for leaf in leaves)


def steps_of(dtype: torch.dtype) -> tuple[float, ...]:
    """Return steps of differences, from where rounding and curvature take about as much.

    In half precision no step resolves a slope by itself: curvature acts at the largest one, and rounding at the others.
    """
    if dtype == torch.float64:
        return 2.0**-20, 2.0**-18
    if dtype == torch.float32:
        return 2.0**-9, 2.0**-7
    return (2.0**-3, 2.0**-6, 2.0**-9) if dtype == torch.bfloat16 else (2.0**-5, 2.0**-7, 2.0**-9)


@dataclass(frozen=True)
class Slopes:
    """How F changes along a direction, from one-sided differences on both sides, beside what its gradient says.

    Attributes:
        seen: The slopes.
        along: ∇F·v.
        spread: The size of such a product, by chance: the root of the sum of squares of x·∂F.
        size: Σ|x·∂F|.
        dtype: What F is computed in.
        step: h.
    """

    seen: Sequence[float]
    along: float
    spread: float
    size: float
    dtype: torch.dtype
    step: float

    @property
    def mean(self) -> float:
        """The slope, by both sides."""
        return sum(self.seen) / len(self.seen)

    @property
    def allowed(self) -> float:
        """How far the mean may be off: rounding of a deep network, and kinks within reach of the step."""
        eps = torch.finfo(self.dtype).eps
        fine = eps < 1e-4
        rounding = (32 if fine else 0.5) * eps * self.size / self.step
        # Kinks move one side up and the other down: how far the two are apart says what they take.
        kinks = max(self.seen) - min(self.seen) if len(self.seen) > 1 else 0.1 * self.spread
        return min(kinks, 0.5 * self.spread) + (1e-3 if fine else 0.2) * self.spread + rounding

    @property
    def off(self) -> bool:
        """Whether F changes otherwise than its gradient says."""
        # An error of the values is the same on both sides, and cancels in the mean.
        far = 0.5 * self.spread + 4 * self.allowed
        return abs(self.mean - self.along) > self.allowed or any(abs(slope - self.along) > far for slope in self.seen)

    @property
    def one_sided(self) -> bool:
        """Whether the two sides are further apart than they are off: then it is rounding or a kink that is seen."""
        return max(abs(slope - self.mean) for slope in self.seen) > 0.5 * abs(self.mean - self.along)


def directions_of(inputs: Sequence[Tensor], number: int) -> list[Tensor]:
    """Return x∘r for random r: zeros, and with them what is padded or masked, stay where they are."""
    generator = torch.Generator().manual_seed(number)
    return [x.detach() * torch.randn(x.shape, generator=generator).to(x.device, x.dtype) for x in inputs]
