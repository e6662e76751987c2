"""Attributions of many targets at once, each validated as it would be alone.

What is validated in general (a proof, which is of all outputs; that examples are separate; that F is one function) is
validated for the first target. What belongs to a target is asked of each: Euler's identity, and without a proof F at
two scales, for all targets from the same two passes. A target that fails is handed to the validation by itself, which
knows what else may explain it, and says what is wrong.
What must never happen: a target goes unlooked at because another one was right.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg._core.function import Evaluation, ScalarFunction
from captum_xg._core.many_targets import ManyEvaluations, ManyTargets, evaluate_many
from captum_xg._core.state import preserve_state
from captum_xg._core.types import Tensors
from captum_xg.attr.trusted import Trusted
from captum_xg.errors import CaptumXGError, DegreeError
from captum_xg.homogeneity.check.euler import precision_of
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.trials import scale_inputs


def evaluated_for_all(
    validation: Trusted, function: ScalarFunction, targets: ManyTargets, inputs: Tensors, rows: int | None
) -> tuple[ManyEvaluations, float]:
    """Return F and ∇F of one part of the batch for all targets, and the degree, validated.

    Raises:
        DegreeError: If there is no degree k ≥ 1 to be found.
        HomogeneityError: If F does not have the degree for one of the targets, and that is an error.
    """
    proven = validation.rests_on_a_proof(function, inputs)
    kept: list[ManyEvaluations] = []

    def evaluate(function: ScalarFunction, inputs: Tensors) -> Evaluation:
        kept.append(evaluate_many(function, targets, inputs, rows))
        return kept[0].of(0)

    _, degree = validation.evaluated(targets.of(function, 0), inputs, evaluate)
    many = kept[0]
    if validation.validates:
        for k in _suspicious(validation, function, targets, many, degree, proven):
            if k:
                _alone(validation, targets.of(function, k), many.of(k), k, degree)
    return many, degree


def _alone(validation: Trusted, function: ScalarFunction, evaluation: Evaluation, k: int, degree: float) -> None:
    try:
        _, own = validation.evaluated(function, evaluation.inputs, lambda *_: evaluation)
    except CaptumXGError as error:
        error.args = (f"{error.args[0]}\n  That is targets[{k}].", *error.args[1:])
        raise
    if abs(own - degree) > 1e-4 * degree and bool(evaluation.values.any()):
        raise DegreeError(
            f"{validation.where}: degree='auto' found {degree:g} for targets[0] and {own:g} for targets[{k}]. One call "
            "has one degree; explain them separately, or pass `degree`."
        )


def _suspicious(
    validation: Trusted,
    function: ScalarFunction,
    targets: ManyTargets,
    many: ManyEvaluations,
    degree: float,
    proven: bool,
) -> list[int]:
    """Return the targets that have to be looked at by themselves."""
    known = validation.proofs.standing(function.forward_func, many.inputs, function.additional)
    inner = known.seen.inner if known is not None else ()
    precision = precision_of(many.of(0), validation.rtol, inner)
    values = many.values.to("cpu", torch.float64)
    total, size = many.sums()
    size = torch.maximum(size, values.abs())
    holds = (total - degree * values).abs() <= precision.euler_rtol * torch.maximum(size, degree * values.abs())
    if not proven:
        with preserve_state(function.forward_func, many.inputs[0].device):
            holds &= _scales(function, targets, many, degree, size, precision)
    return (~holds.all(0)).nonzero().flatten().tolist()


@torch.no_grad()
def _scales(
    function: ScalarFunction, targets: ManyTargets, many: ManyEvaluations, degree: float, size: Tensor, of: Precision
) -> Tensor:
    """Return where F(αx) = αᵏF(x), shape ``(N, K)``, for one α on each side of 1; False where that does not show."""
    values = many.values.to("cpu", torch.float64)
    holds = torch.ones_like(values, dtype=torch.bool)
    scales = torch.tensor(of.default_scales(degree, thorough=False), dtype=torch.float64)
    # Neighbours have different scales, so that examples that enter each other's value show.
    first = torch.tensor([i.bit_count() % 2 for i in range(len(values))])
    for turn in range(len(scales)):
        alpha = scales[(first + turn) % len(scales)]
        growth = alpha[:, None] ** degree
        there = targets.values(function, scale_inputs(many.inputs, alpha)).to("cpu", torch.float64)
        near = (there - growth * values).abs() <= of.rtol * growth * size
        # Zero on the whole ray agrees with every degree, and its gradient has to be asked.
        holds &= near & ~((values == 0) & (there == 0) & (size > 0))
    return holds
