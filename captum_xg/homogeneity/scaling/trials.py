"""F at scaled inputs, example by example: which scales each example can take, and what F gives there.

Every pass runs the whole batch in its own shape, which keeps the same kernels and so the same roundings as F(x), but
examples of one pass have different scales: F(αx) of one example must not depend on what α the others have. With scales
(¼, 4) and three examples the passes are (¼, 4, 4) and (4, ¼, ¼).

A scale that takes an example out of its dtype's range must never count against F: it is replaced by a nearer one or
left out, and reported as unused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg.homogeneity.scaling.checks import UnusedScale
from captum_xg.homogeneity.scaling.precision import Precision


@dataclass(frozen=True)
class Trials:
    """F(αx) for several α per example.

    Attributes:
        scales: α of each pass and example, shape ``(P, N)``, float64 on the CPU.
        observed: F(αx), same shape.
        usable: Where α could be used, same shape, boolean.
        unused: What could not, summed over examples.
    """

    scales: Tensor
    observed: Tensor
    usable: Tensor
    unused: tuple[UnusedScale, ...]


def run_trials(
    function: ScalarFunction,
    evaluation: Evaluation,
    scales: tuple[float, ...],
    precision: Precision,
    degree: float | None,
    magnitude: Tensor,
    *,
    may_shrink: bool,
) -> Trials:
    """Evaluate F without gradients at every scale for every example.

    In pass p example i gets the scale number (digit sum of i in base S) + p, modulo S: all scales are in every batch,
    and examples any fixed distance apart get different ones somewhere, so that a function in which an example's value
    grows with that of another does not stay homogeneous.

    The degree, if it is known, and the magnitude of the terms that F is a sum of tell whether αᵏF(x) is within range. A
    scale that leaves it may shrink to its square root (2^(m/2)), down to 2 or ½; else it is left out.
    """
    count = len(scales)
    index = torch.tensor([_digit_sum(i, max(count, 2)) for i in range(len(evaluation.values))])
    ranges = _Ranges(evaluation, precision, degree, magnitude, may_shrink)
    passes = [
        ranges.run(function, evaluation.inputs, torch.tensor(scales, dtype=torch.float64)[(index + p) % count])
        for p in range(count)
    ]
    used, observed, usable = (torch.stack(parts) for parts in zip(*passes, strict=True))
    unused = (UnusedScale(alpha, len(which), reason) for (alpha, reason), which in sorted(ranges.unused.items()))
    return Trials(used, observed, usable, tuple(unused))


class _Ranges:
    """The scales that keep inputs and outputs of each example where their dtypes have all their digits.

    Attributes:
        unused: (α, reason) → the examples that could not take it.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        precision: Precision,
        degree: float | None,
        magnitude: Tensor,
        may_shrink: bool,
    ) -> None:
        self.unused: dict[tuple[float, str], set[int]] = {}
        self._values = to_vector(evaluation.values)
        self._magnitude = magnitude
        self._degree = degree
        self._may_shrink = may_shrink
        self._limits = torch.finfo(precision.dtype)
        self._tolerance = precision.rtol
        self._largest = [
            (to_vector(x.detach().reshape(len(x), -1).abs().amax(1)), torch.finfo(x.dtype)) for x in evaluation.inputs
        ]

    @torch.no_grad()
    def run(
        self, function: ScalarFunction, inputs: tuple[Tensor, ...], scales: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scales that were used in place of those wanted, F there, and where there is one to be used."""
        usable = torch.ones_like(scales, dtype=torch.bool)
        while True:
            if self._gave_up(self._inputs_out_of_range(scales), scales, usable):
                continue
            observed = to_vector(function.values(scale_inputs(inputs, scales)))
            if not self._gave_up(self._outputs_out_of_range(scales, observed), scales, usable):
                return scales, observed, usable

    def _gave_up(self, problem: tuple[Tensor, str], scales: Tensor, usable: Tensor) -> bool:
        """Move examples whose scale is too far to a nearer one, or to 1, and return whether there were any."""
        bad = (problem[0] & usable).nonzero().flatten().tolist()
        for i in bad:
            alpha = float(scales[i])
            self.unused.setdefault((alpha, problem[1]), set()).add(i)
            scales[i] = 2.0 ** int(math.log2(alpha) / 2) if self._may_shrink else 1.0
            usable[i] = bool(scales[i] != 1)
        return bool(bad)

    def _inputs_out_of_range(self, scales: Tensor) -> tuple[Tensor, str]:
        """Return where the scaled inputs overflow, or lose digits that are not negligible beside their largest."""
        outside = torch.zeros_like(scales, dtype=torch.bool)
        for largest, limits in self._largest:
            reached = largest * scales
            outside |= (reached > limits.max) | ((reached < 8 * limits.tiny) & (largest != 0) & (scales < 1))
        return outside, f"the scaled inputs leave the range of {self._largest[0][1].dtype}"

    def _outputs_out_of_range(self, scales: Tensor, observed: Tensor) -> tuple[Tensor, str]:
        """Return where F(αx) overflows, or is so small that its lost digits are more than the tolerance."""
        if not bool(torch.isfinite(observed).all()):
            return ~torch.isfinite(observed), "F(αx) is not finite"
        if self._degree is None:
            size, growth = observed.abs(), observed.abs() / self._values.abs()
        else:
            growth = scales**self._degree
            size = self._values.abs() * growth
        step = self._limits.tiny * self._limits.eps
        lost = (size < self._limits.tiny) & (self._values != 0) & ~(step <= self._tolerance * self._magnitude * growth)
        return (size > self._limits.max) | lost, f"αᵏF(x) leaves the range of {self._limits.dtype}"


def to_vector(values: Tensor) -> Tensor:
    """Return one number per example as float64 on the CPU, where all comparing is done, exactly."""
    return values.detach().to("cpu").to(torch.float64)


def scale_inputs(inputs: tuple[Tensor, ...], scales: Tensor) -> tuple[Tensor, ...]:
    """Return each input with example i multiplied by ``scales[i]``."""
    return tuple(x.detach() * scales.to(x).view(-1, *[1] * (x.dim() - 1)) for x in inputs)


def _digit_sum(i: int, base: int) -> int:
    return i and i % base + _digit_sum(i // base, base)
