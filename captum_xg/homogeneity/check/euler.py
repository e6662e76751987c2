"""Euler's identity Σ xᵢ·∂ᵢF = kF per example: what costs nothing once F and ∇F are there, and so is asked every time.

It sees what a proof cannot: a shift that has come to life, a gradient that is another function's, examples that are
mixed. Example: for F = Σ(x − mean over the batch) the sum is zero and F is not. It does not see what cancels in it: a
change of degree 0, and a layer's constant that this example does not reach.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from captum_xg._core.function import Evaluation
from captum_xg.homogeneity.scaling.checks import EulerCheck
from captum_xg.homogeneity.scaling.judgement import euler_terms, judge_euler
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.trials import to_vector


def precision_of(evaluation: Evaluation, rtol: float | None, inner: Iterable[torch.dtype] = ()) -> Precision:
    """Return what a computation with these inputs and outputs can resolve, and with coarser dtypes inside of F."""
    precision = Precision.of(*evaluation.inputs, evaluation.values, inner=inner)
    return precision if rtol is None else precision.with_rtol(rtol)


def euler_check(evaluation: Evaluation, degree: float, precision: Precision) -> EulerCheck:
    """Compare Σ x·∂F with kF on every example."""
    total, size = euler_terms(evaluation)
    values = to_vector(evaluation.values) if evaluation.sums is None else evaluation.sums[0]
    return judge_euler(total, values, size, degree, precision)
