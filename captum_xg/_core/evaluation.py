"""F(x) and ∇F(x) from one forward and one backward pass, and what is said where autograd has no such gradient.

The invariant: nothing outside is touched. Inputs keep ``requires_grad`` and ``grad``, for the function gets handles of
its own; parameters are not differentiated by. A number is returned only if it is finite and belongs to the inputs that
were passed: a forward function that overwrites them where autograd cannot see it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_xg._core.inputs import advice_on_ids, all_finite, first_not_finite
from captum_xg._core.types import Tensors
from captum_xg.errors import ForwardOutputError, GradientError, InputError


@dataclass(frozen=True)
class Evaluation:
    """F and ∇F at a batch of inputs.

    Attributes:
        inputs: The tensors x that F was evaluated at.
        values: F(x), shape ``(N,)``.
        gradients: ∂F/∂x, one tensor per input, of its shape.
        sums: F, Σ x·∂F and Σ|x·∂F| per example, shape ``(3, N)``, float64 on the CPU; None where they were not taken
            or leave the range of the dtype.
    """

    inputs: Tensors
    values: Tensor
    gradients: Tensors
    sums: Tensor | None = None


def evaluate(
    function: Callable[[Tensors], Tensor],
    inputs: Tensors,
    where: str,
    *,
    first: int,
    create_graph: bool,
    unused_as_zero: bool = False,
) -> Evaluation:
    """Return F(x) and ∇F(x); see :meth:`captum_xg._core.function.ScalarFunction.evaluate`.

    Args:
        function: F, one number per example.
        inputs: x.
        where: The public name that errors begin with.
        first: Index of the first example in the caller's batch, for messages.
        create_graph: Keep the graph of the gradients.
        unused_as_zero: The gradient by an input that F does not use is 0, and not an error.
    """
    with autograd_refusals_explained(where), torch.enable_grad():
        handles = tuple(handle_of(x, create_graph) for x in inputs)
        values = run_recorded(function, handles, inputs, where)
        if not values.requires_grad:
            raise GradientError(
                f"{where}: the output does not depend on the inputs through autograd, so it has no gradient. "
                "Look for no_grad, detach, .item(), .data, numpy or integer casts in the forward function."
                f"{_advice_on_ids(inputs)}"
            )
        gradients = torch.autograd.grad(
            values, handles, torch.ones_like(values), create_graph=create_graph, allow_unused=True
        )
    if unused_as_zero:
        gradients = tuple(torch.zeros_like(x) if g is None else g for g, x in zip(gradients, handles, strict=True))
    if not create_graph:
        handles, values = tuple(handle.detach() for handle in handles), values.detach()
    # One look at the device: what is not finite anywhere shows in these sums, and Euler's identity is made of them.
    sums = None if any(g is None for g in gradients) else _sums(handles, values, gradients)
    if sums is not None and bool(sums.isfinite().all()):
        return Evaluation(handles, values, gradients, sums)
    if not all_finite(values):
        bad = first_not_finite(values)
        raise ForwardOutputError(
            f"{where}: F(x) is {values[bad].item()} in example {first + bad}. The inputs are finite, so "
            "forward_func overflows or divides by zero; nothing can be explained about that value."
        )
    finite = (_finite(g, x, i, where, first) for i, (g, x) in enumerate(zip(gradients, inputs, strict=True)))
    return Evaluation(handles, values, tuple(finite))


@torch.no_grad()
def _sums(inputs: Tensors, values: Tensor, gradients: Tensors) -> Tensor:
    """Return F, Σ x·∂F and Σ|x·∂F| per example from one transfer to the CPU."""
    device, n = values.device, len(values)
    wide = torch.promote_types(values.dtype, torch.float32)
    total, size = torch.zeros(n, dtype=wide, device=device), torch.zeros(n, dtype=wide, device=device)
    for x, gradient in zip(inputs, gradients, strict=True):
        # Freed before the attributions, which are as large, are made: so the peak of memory is that of input×gradient.
        terms = (x.to(torch.promote_types(x.dtype, torch.float32)) * gradient).reshape(n, -1)
        total = total + terms.sum(1).to(device)
        size = size + terms.abs_().sum(1).to(device)
    return torch.stack([values.to(total.dtype), total, size]).to("cpu").to(torch.float64)


def run_recorded(function: Callable[[Tensors], Tensor], handles: Tensors, inputs: Tensors, where: str) -> Tensor:
    """Return F(x) with its graph, and let no write of the forward function into its input go unseen."""
    # Copies are what a first layer that works in place may overwrite. They are made only where autograd would
    # not object (a handle that is not a leaf) or has objected, because they would be the tensors by which the peak of
    # memory exceeds that of input×gradient.
    versions = [handle._version for handle in handles]
    try:
        values = function(tuple(handle if handle.is_leaf else handle.clone() for handle in handles))
    except RuntimeError as error:
        if "a leaf Variable that requires grad" not in str(error):
            raise
        values = function(tuple(handle.clone() for handle in handles))
    for i, (handle, version) in enumerate(zip(handles, versions, strict=True)):
        if handle._version != version:
            raise InputError(
                f"{where}: forward_func overwrites inputs[{i}] where autograd does not see it (under no_grad "
                "or through detach), so neither the input nor the gradient is what it was. The tensor that was "
                f"passed {'is a copy and unharmed' if inputs[i].is_inference() else 'now holds what was written'}."
                " Let forward_func work on a copy: x.clone()."
            )
    return values


def _finite(gradient: Tensor | None, x: Tensor, index: int, where: str, first: int) -> Tensor:
    if gradient is None:
        raise GradientError(
            f"{where}: the output does not depend on inputs[{index}] through autograd: it is unused or "
            "detached. Leave it out of `inputs`, or pass it as an additional forward argument."
            f"{_advice_on_ids((x,))}"
        )
    if not all_finite(gradient):
        raise GradientError(
            f"{where}: the gradient with respect to inputs[{index}] has NaN or infinity, first in example "
            f"{first + first_not_finite(gradient)}, although F(x) is finite. A frequent cause is the square root or a "
            "norm of exactly zero."
        )
    return gradient


def handle_of(x: Tensor, connected: bool) -> Tensor:
    """Return a tensor of the same values to differentiate by, without marking x itself.

    Where x is connected, inputs may depend on each other; each handle is a node of its own, so that the gradient by one
    input does not run through another.
    """
    if x.is_inference():
        return x.clone().requires_grad_()
    if connected and x.requires_grad:
        return x.view_as(x)
    return x.detach().requires_grad_()


def _advice_on_ids(inputs: Tensors) -> str:
    """Return what to do if these are ids, which the forward function casts to integers itself."""
    if not all(bool((x.detach() == x.detach().floor()).all()) for x in inputs):
        return ""
    return f" Or are these whole numbers ids that an embedding looks up? {advice_on_ids('embedding')}"


@contextmanager
def autograd_refusals_explained(where: str) -> Iterator[None]:
    """Say what to do where autograd refuses a forward function for how it was made.

    Raises:
        GradientError: In place of PyTorch's RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        for said, explained in _REFUSALS:
            if said in str(error):
                raise GradientError(f"{where}: {explained}") from error
        raise


_REFUSALS = (
    (
        "Inference tensors cannot be saved for backward",
        "a parameter, buffer or captured tensor of the forward function was made in torch.inference_mode(), so that "
        "autograd cannot use it. Make or load the model outside of inference mode; copy.deepcopy(model) there makes "
        "ordinary parameters of those it has.",
    ),
    (
        "use_reentrant=True",
        "a part of the forward function runs under torch.utils.checkpoint with use_reentrant=True, which only "
        "backward() can differentiate. Pass use_reentrant=False.",
    ),
    (
        "torch.utils.checkpoint: A different number of tensors",
        "a part of the forward function under torch.utils.checkpoint runs otherwise when it runs again in the backward "
        "pass: a layer whose values are replaced, in a model whose parameters are frozen, is one such part. Explain "
        "without checkpoints.",
    ),
)
"""What PyTorch says, and what it means here."""
