"""The function that is explained: one real number per example, and its gradient, from one forward and one backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xg._inputs import all_finite
from captum_xg._target import check_output, check_target, select
from captum_xg._types import Target
from captum_xg.errors import ForwardOutputError, GradientError


@dataclass(frozen=True)
class Evaluation:
    """F and ∇F at a batch of inputs.

    Attributes:
        inputs: The tensors x that F was evaluated at.
        values: F(x), shape ``(N,)``.
        gradients: ∂F/∂x, one tensor per input, of its shape.
    """

    inputs: tuple[Tensor, ...]
    values: Tensor
    gradients: tuple[Tensor, ...]


class ScalarFunction:
    """A forward function with its additional arguments and its target: x ↦ F(x), one number per example.

    Args:
        forward_func: A module or any callable.
        additional_forward_args: What follows the inputs in a call. Tensors with one row per example are sliced along
            with the inputs.
        target: Captum's target.
        where: The public name that errors begin with.
    """

    def __init__(
        self, forward_func: Callable[..., Any], additional_forward_args: object, target: Target, where: str
    ) -> None:
        if not callable(forward_func):
            raise TypeError(f"{where}: forward_func must be callable but is {type(forward_func).__name__}.")
        self.forward_func = forward_func
        if additional_forward_args is None:
            additional_forward_args = ()
        elif not isinstance(additional_forward_args, tuple):
            additional_forward_args = (additional_forward_args,)
        self.additional: tuple[Any, ...] = additional_forward_args
        self.target = target
        self.where = where
        self._checked: torch.Size | None = None

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return F(x), shape ``(N,)``."""
        output = check_output(self.forward_func(*inputs, *self.additional), inputs[0].shape[0], self.where)
        if output.shape != self._checked:
            # Looking at a target on an accelerator waits for it; once per shape is enough.
            check_target(output, self.target, self.where)
            self._checked = output.shape
        return select(output, self.target)

    def examples(self, start: int, stop: int, n: int) -> ScalarFunction:
        """Return this function for the examples ``start`` to ``stop`` of a batch of ``n``."""

        def rows(value: Any) -> Any:
            per_example = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == n
            return value[start:stop] if per_example else value

        target = self.target
        if isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1):
            target = target[start:stop]
        return ScalarFunction(self.forward_func, tuple(map(rows, self.additional)), target, self.where)

    def evaluate(self, inputs: tuple[Tensor, ...], *, create_graph: bool = False) -> Evaluation:
        """Return F(x) and ∇F(x) and leave inputs, parameters and gradient modes as they are.

        Args:
            inputs: Finite floating-point tensors of shape ``(N, …)``.
            create_graph: Keep the graph, so that the gradients can be differentiated with respect to the parameters
                and, where they require it, the inputs.

        Raises:
            GradientError: If an input does not reach the output, or the gradient is not finite.
            ForwardOutputError: If F(x) is not finite.
        """
        with torch.inference_mode(False), torch.enable_grad():
            leaves = tuple(_differentiable(x, create_graph) for x in inputs)
            try:
                values = self(leaves)
            except RuntimeError as error:
                if "a leaf Variable that requires grad" not in str(error):
                    raise
                # The first layer works in place. A copy is what it may overwrite; the copy is not made in general
                # because it would be the one tensor by which the peak of memory exceeds input×gradient's.
                values = self(tuple(leaf.clone() for leaf in leaves))
            if not values.requires_grad:
                raise GradientError(
                    f"{self.where}: the output does not depend on the inputs through autograd, so it has no gradient. "
                    "Look for no_grad, detach, .item(), .data, numpy or integer casts in the forward function."
                )
            gradients = torch.autograd.grad(
                values, leaves, torch.ones_like(values), create_graph=create_graph, allow_unused=True
            )
        if not create_graph:
            leaves, values = tuple(leaf.detach() for leaf in leaves), values.detach()
        if not all_finite(values):
            bad = int((~torch.isfinite(values)).nonzero()[0])
            raise ForwardOutputError(
                f"{self.where}: F(x) is {values[bad].item()} in example {bad}. The inputs are finite, so the forward "
                "function overflows or divides by zero; nothing can be explained about that value."
            )
        return Evaluation(leaves, values, tuple(self._finite(g, i) for i, g in enumerate(gradients)))

    def _finite(self, gradient: Tensor | None, index: int) -> Tensor:
        if gradient is None:
            raise GradientError(
                f"{self.where}: the output does not depend on inputs[{index}] through autograd: it is unused or "
                "detached. Leave it out of `inputs`, or pass it as an additional forward argument."
            )
        if not all_finite(gradient):
            bad = int((~torch.isfinite(gradient)).flatten().nonzero()[0]) // max(1, gradient[0].numel())
            raise GradientError(
                f"{self.where}: the gradient with respect to inputs[{index}] has NaN or infinity, first in example "
                f"{bad}, although F(x) is finite. A frequent cause is the square root or a norm of exactly zero."
            )
        return gradient


def _differentiable(x: Tensor, connected: bool) -> Tensor:
    """Return a tensor equal to x that autograd can differentiate by, without marking x itself."""
    if x.is_inference():
        return x.clone().requires_grad_()
    if connected and x.requires_grad:
        return x
    return x.detach().requires_grad_()
