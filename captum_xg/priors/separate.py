"""Examples of a training batch that see each other: x·∂F of one is then no complete attribution of its score.

Neither a proof nor Euler's identity sees a dependence of degree 0 on other examples. So at the first step, and then
ever more rarely (the 16th, 32nd, 64th …), as training may bring a term to life, half of the points are replaced, and
value and gradient of the others must stay. Dropout is off meanwhile: which masks it draws is no part of the question.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg._core.function import ScalarFunction
from captum_xg._core.modules import evaluation_mode, named_modules_of
from captum_xg._core.state import preserve_state
from captum_xg.errors import ForwardOutputError, GradientError
from captum_xg.homogeneity.check.euler import precision_of
from captum_xg.homogeneity.check.one_function import require_separate
from captum_xg.homogeneity.scaling.dtypes import inner_dtypes
from captum_xg.priors.attribution.base import Batch
from captum_xg.priors.proof import is_dropout
from captum_xg.priors.supported import WHERE


def is_asked_at(step: int) -> bool:
    """Return whether examples are seen not to mix at a step, counted from 1."""
    return step == 1 or (step >= 16 and step & (step - 1) == 0)


def require_separate_examples(batch: Batch) -> None:
    """Refuse a model that mixes the examples of this batch.

    Raises:
        CrossExampleError: If replacing other examples changes what one gives.
    """
    points = tuple(p.detach() for p in batch.passed.points)
    if len(points[0]) == 1:
        return
    shape = batch.passed.explained.shape[1:]
    # A random sum of all outputs: what mixes shows in it, whichever of them is explained.
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 0.5

    def forward(*xs: Tensor) -> Tensor:
        outputs = batch.forward.at(xs, batch.inputs, batch.additional)
        return (outputs * weights.to(outputs)).reshape(len(outputs), -1).sum(1)

    function = ScalarFunction(forward, None, None, WHERE)
    dropping = [m for _, m in named_modules_of(batch.forward.model).values() if is_dropout(m)]
    with preserve_state(batch.forward.model, points[0].device), evaluation_mode(dropping):
        try:
            evaluation = function.evaluate(points)
        except (GradientError, ForwardOutputError):  # which the attribution itself says more about
            return
        inner = inner_dtypes(function.values, points)
        require_separate(function, evaluation, precision_of(evaluation, None, inner))
