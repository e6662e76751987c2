"""The integral of ∇F from zero to x in closed form, for F of degree k: ∇F(x)/k, times x."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from captum_xg._core.function import Evaluation, ScalarFunction


def closed_form(evaluation: Evaluation, degree: float, *, multiply_by_inputs: bool) -> tuple[Tensor, ...]:
    """Return x·∇F(x)/k for each input, or ∇F(x)/k, in float32 at least."""

    def attribute(x: Tensor, gradient: Tensor) -> Tensor:
        # Integrated Gradients multiplies by float32 step sizes, which makes coarser dtypes float32.
        wide = torch.promote_types(gradient.dtype, torch.float32)
        if multiply_by_inputs:
            result = x * gradient.to(wide)
        else:
            # Autograd may hand out one number seen as many, or a tensor that is still in use elsewhere.
            result = gradient.to(wide).clone(memory_format=torch.contiguous_format)
        return result if degree == 1 else result / degree

    # The caller may be under no_grad, where products would lose the graph that create_graph asks for.
    with torch.set_grad_enabled(evaluation.values.requires_grad):
        return tuple(map(attribute, evaluation.inputs, evaluation.gradients))


def evaluate_by(
    gradient_func: Callable[..., tuple[Tensor, ...]], function: ScalarFunction, inputs: tuple[Tensor, ...]
) -> Evaluation:
    """Return the gradients of a replaced ``gradient_func``, Captum's place to differentiate something else than F."""
    with torch.enable_grad():
        leaves = tuple(x.detach().clone().requires_grad_() for x in inputs)
        gradients = gradient_func(
            forward_fn=function.forward_func,
            inputs=leaves,
            target_ind=function.target,
            additional_forward_args=function.additional or None,
        )
    return Evaluation(tuple(x.detach() for x in leaves), torch.empty(0), tuple(g.detach() for g in gradients))
