"""Euler's identity Σ x·∂F = kF on the pass of a training step: a proof that stands is confronted with it at every step.

With dropout the identity holds for the masks of this step, as F is homogeneous for any. A step is refused only after
casts to coarser dtypes inside of the model have been looked for, which show at no border of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_xg._core.euler import euler_sums
from captum_xg._core.state import preserve_state
from captum_xg._core.types import Tensors
from captum_xg.errors import HomogeneityError
from captum_xg.homogeneity.scaling.dtypes import inner_dtypes
from captum_xg.homogeneity.scaling.judgement import judge_euler
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.priors.attribution.base import Batch
from captum_xg.priors.supported import WHERE


def require_euler(batch: Batch, scores: Sequence[Tensor], products: Sequence[Tensors], degree: float) -> None:
    """Refuse attributions x·∂F of scores that do not add up to k times the scores.

    Raises:
        HomogeneityError: If they do not in some example.
    """
    sums = _sums(scores, products)
    if not bool(sums.isfinite().all()):
        return  # overflow of the step, which the loss reports with more to say
    points, explained = batch.passed.points, batch.passed.explained
    values, total, size = sums
    check = judge_euler(total, values, size, degree, Precision.of(*points, explained))
    if check.holds:
        return
    with preserve_state(batch.forward.model, points[0].device):
        inner = inner_dtypes(lambda xs: batch.forward.at(xs, batch.inputs, batch.additional), points)
    check = judge_euler(total, values, size, degree, Precision.of(*points, explained, inner=inner))
    if not check.holds:
        n = len(scores[0])
        raise HomogeneityError(
            f"{WHERE}: F was proven to be homogeneous of degree {degree:g}, but Σ x·∂F = {check.observed:.6g} and "
            f"kF(x) = {check.expected:.6g} in example {check.worst_example % n} (relative deviation "
            f"{check.max_deviation:.1e}, tolerance {check.tolerance:.1e}), so x·∇F(x) is not Integrated Gradients. F "
            "has changed since without the model showing it (a global, an attribute of a class, a function that was "
            "replaced, hooks around this step), or the examples of the batch see each other. "
            "check_homogeneity(model, inputs) says more; attribution='input_x_gradient' is what it says and needs "
            "no homogeneity."
        )


@torch.no_grad()
def _sums(scores: Sequence[Tensor], products: Sequence[Tensors]) -> Tensor:
    """Return F, Σ x·∂F and Σ|x·∂F| of all scores, one after the other, from one look at the device."""
    wide = torch.zeros((), dtype=torch.promote_types(scores[0].dtype, torch.float32), device=scores[0].device)
    sums = [euler_sums(each, len(scores[0]), wide) for each in products]
    parts = scores, [total for total, _ in sums], [size for _, size in sums]
    return torch.stack([torch.cat([t.detach().to(wide) for t in part]) for part in parts]).cpu().double()
