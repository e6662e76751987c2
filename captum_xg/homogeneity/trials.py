"""Running F at scaled inputs: which scales each example can take, and what F gives there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._function import Evaluation, ScalarFunction
from captum_xg.homogeneity.precision import Precision
from captum_xg.homogeneity.report import UnusedScale


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
    *,
    may_shrink: bool,
) -> Trials:
    """Evaluate F without gradients at every scale for every example.

    Pass p gives example i the scale number (i + p) mod S. So each pass runs the whole batch in its own shape, which
    keeps the same kernels and so the same roundings as F(x); each batch sees all scales at once; and a function
    that mixes examples cannot stay homogeneous, because its examples are scaled differently.

    Args:
        function: F.
        evaluation: F at x.
        scales: The α to try.
        precision: Of the computation.
        degree: k, to tell whether αᵏF(x) is within range; None if unknown.
        may_shrink: Replace a scale that leaves the dtype's range by its square root (2^(m/2)), down to 2 or ½, instead
            of leaving it out.
    """
    n, count = evaluation.values.shape[0], len(scales)
    values = to_vector(evaluation.values)
    index = torch.arange(n)
    passes = [torch.tensor(scales, dtype=torch.float64)[(index + p) % count] for p in range(count)]
    unused: dict[tuple[float, str], set[int]] = {}
    results = [
        _run_pass(function, evaluation.inputs, values, wanted, precision, degree, unused, may_shrink=may_shrink)
        for wanted in passes
    ]
    used, observed, usable = (torch.stack(parts) for parts in zip(*results, strict=True))
    given_up = tuple(UnusedScale(alpha, len(which), reason) for (alpha, reason), which in sorted(unused.items()))
    return Trials(used, observed, usable, given_up)


def below_normal_range(values: Tensor, precision: Precision) -> Tensor:
    """Return for which examples F(x) is so small, though not 0, that its dtype gives it fewer digits."""
    return (values != 0) & (values.abs() < torch.finfo(precision.dtype).tiny)


def to_vector(values: Tensor) -> Tensor:
    """Return one number per example as float64 on the CPU, where all comparing is done, exactly."""
    return values.detach().to("cpu").to(torch.float64)


def scale_inputs(inputs: tuple[Tensor, ...], scales: Tensor) -> tuple[Tensor, ...]:
    """Return each input with example i multiplied by ``scales[i]``."""
    return tuple(x.detach() * _column(scales, x) for x in inputs)


@torch.no_grad()
def _run_pass(
    function: ScalarFunction,
    inputs: tuple[Tensor, ...],
    values: Tensor,
    wanted: Tensor,
    precision: Precision,
    degree: float | None,
    unused: dict[tuple[float, str], set[int]],
    *,
    may_shrink: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    scales, usable = wanted.clone(), torch.ones_like(wanted, dtype=torch.bool)
    limits = torch.finfo(precision.dtype)

    def give_up(bad: Tensor, reason: str, *, shrinking: bool = may_shrink) -> None:
        for i in bad.nonzero().flatten().tolist():
            unused.setdefault((float(scales[i]), reason), set()).add(i)
            shrunk = _shrink(float(scales[i])) if shrinking else 1.0
            usable[i] = shrunk != 1.0
            scales[i] = shrunk

    faint = below_normal_range(values, precision)
    if faint.any():
        reason = f"F(x) lies below the normal range of {_name(precision.dtype)}, where digits are lost"
        give_up(faint, reason, shrinking=False)
    while True:
        scaled = scale_inputs(inputs, scales)
        survives = _survives(inputs, scaled, scales, limits.eps)
        if not survives.all():
            give_up(~survives, f"the scaled inputs leave the range of {_name(inputs[0].dtype)}")
            continue
        observed = to_vector(function(scaled))
        overflow = usable & ~torch.isfinite(observed)
        if overflow.any():
            give_up(overflow, "F(αx) is not finite")
            continue
        if degree is not None:
            expected = (values * scales**degree).abs()
            outside = usable & ((expected > limits.max) | ((expected < limits.tiny) & (values != 0)))
            if outside.any():
                give_up(outside, f"αᵏF(x) leaves the range of {_name(precision.dtype)}")
                continue
        return scales, observed, usable


def _survives(inputs: tuple[Tensor, ...], scaled: tuple[Tensor, ...], scales: Tensor, eps: float) -> Tensor:
    """Return for which examples scaling back gives x again, up to what is nothing beside their largest entry."""
    survives = torch.ones_like(scales, dtype=torch.bool)
    # A scale that is no power of two rounds each entry, which is not a loss of range.
    slack = torch.where(torch.frexp(scales).mantissa == 0.5, eps / 16, 4 * eps)
    for x, y in zip(inputs, scaled, strict=True):
        rows = x.detach().reshape(len(x), -1)
        error = (y.reshape(len(y), -1) * _column(1 / scales, rows)).sub_(rows).abs_().amax(1)
        survives &= error.cpu() <= slack * rows.abs().amax(1).cpu()
    return survives


def _shrink(scale: float) -> float:
    return 2.0 ** int(math.log2(scale) / 2)


def _column(scales: Tensor, x: Tensor) -> Tensor:
    return scales.to(dtype=x.dtype, device=x.device).view(-1, *[1] * (x.dim() - 1))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
