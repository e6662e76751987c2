"""One example of a batch at one α below 1, without gradient: what Euler's identity at x does not see of the path to 0.

Where state that nobody announces makes ``where(h > 0.5, h, 0)`` of ``where(h > 0, h, 0)``, value and gradient beyond
the threshold are those of before, and only smaller inputs show it. Which example, and α, is drawn by a generator of its
own, α evenly in log α over all scales of the numeric check. The second call for a proof asks, and then one call in
64/N for a batch of N, at most one in 16: an example alone may take as long as its batch. So it costs one or two per
cent of forward and backward passes whatever the batch is.

What must never happen: a function that needs its whole batch is refused for what it gives for one row.
"""

from __future__ import annotations

import math

import torch

from captum_xg._core.euler import summed_terms
from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.state import preserve_state
from captum_xg.homogeneity.certificate.cache import Seen
from captum_xg.homogeneity.scaling.fit import power
from captum_xg.homogeneity.scaling.precision import Precision

_ROWS = 64
"""How many examples are explained for each one that is asked about."""
_CALLS = 16
"""How many calls there are at least for each such example."""


def scale_that_differs(
    function: ScalarFunction, evaluation: Evaluation, degree: float, precision: Precision, seen: Seen
) -> float | None:
    """Return an α at which F(αx) is not αᵏF(x) for an example, None if it is or is not asked.

    Args:
        function: F.
        evaluation: F(x) and ∇F(x).
        degree: k.
        precision: What can be resolved of F.
        seen: What is known beside the proof: whether F can be asked about one row, and how often it was.
    """
    n = len(evaluation.values)
    if seen.in_batches or (seen.asked and seen.draws.random() >= min(n / _ROWS, 1 / _CALLS)):
        return None
    seen.asked = True
    i, most = seen.draws.randrange(n), precision.exponent_for(degree)
    scale = power(2.0, -seen.draws.uniform(0.5, most))
    x = tuple(x[i : i + 1].detach() for x in evaluation.inputs)
    value = float(evaluation.values[i].detach())
    _, size = summed_terms(part * g[i : i + 1].detach() for part, g in zip(x, evaluation.gradients, strict=True))
    size = max(abs(value), size)
    growth, limits = power(scale, degree), torch.finfo(precision.dtype)
    if size * growth < limits.tiny / limits.eps:  # digits would be lost
        return None
    one = function.examples(i, i + 1, n)
    tolerance = 2 * precision.inexact_rtol * size

    def at(alpha: float) -> float:
        with preserve_state(function.forward_func, x[0].device):
            return float(one.values(tuple(alpha * part for part in x)))

    try:
        there = at(scale)
        if abs(there - growth * value) <= growth * tolerance:
            return None
        alone = at(1.0)
    except Exception:  # a fixed size of batches, arguments that belong to all of them
        seen.in_batches = True
        return None
    if not math.isfinite(there) or abs(alone - value) > tolerance:
        seen.in_batches = seen.in_batches or math.isfinite(there)
        return None
    return scale
