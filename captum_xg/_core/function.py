"""The function that is explained: one real number per example, and its gradient, from one forward and one backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_xg._core.inputs import advice_on_ids, all_finite, first_not_finite
from captum_xg._core.options import forward_function
from captum_xg._core.target import check_output, check_target, check_target_length, select
from captum_xg._core.types import Target
from captum_xg.errors import ForwardOutputError, GradientError, InputError, TargetError


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

    Where a single example has several rows of output, as the nodes of a graph are, F is the sum of what the target
    chooses in each of them: that is what Captum's Integrated Gradients differentiates. The target is then one for all
    rows, or one for each.

    Args:
        forward_func: A module or any callable.
        additional_forward_args: What follows the inputs in a call. Tensors with one row per example are sliced along
            with the inputs.
        target: Captum's target.
        where: The public name that errors begin with.
        first: Index of the first example in the caller's batch, for messages.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        additional_forward_args: object,
        target: Target,
        where: str,
        *,
        first: int = 0,
    ) -> None:
        self.forward_func = forward_function(forward_func, "forward_func", where)
        self.additional = checked_arguments(additional_forward_args, where)
        self.target: Target = recordable(target)
        self.where = where
        self.first = first
        self._checked: torch.Size | None = None

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return F(x), shape ``(N,)``."""
        n = inputs[0].shape[0]
        output = check_output(self.forward_func(*inputs, *self.additional), n, self.where, several_rows=True)
        target, rows = self.target, output.shape[0]
        if rows != n and isinstance(target, list) and len(target) == n:
            target = target * rows
        if output.shape != self._checked:
            # Looking at a target on an accelerator waits for it; once per shape is enough.
            unit = "example" if rows == n else "row of the output"
            check_target(output, target, self.where, self.first, unit)
            self._checked = output.shape
        values = select(output, target)
        return values if rows == n else values.sum(0, keepdim=True)

    def values(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return F(x), shape ``(N,)``, without gradients; the inputs may be overwritten."""
        with torch.no_grad():
            try:
                return self(inputs)
            except RuntimeError as error:
                if "does not require grad" not in str(error):
                    raise
        with torch.enable_grad():  # the forward function differentiates by its input itself
            return self(tuple(x.detach().requires_grad_() for x in inputs)).detach()

    def examples(self, start: int, stop: int, n: int) -> ScalarFunction:
        """Return this function for the examples ``start`` to ``stop`` of a batch of ``n``."""
        if (start, stop) == (0, n):
            return self  # also where a single example has a target for each of its rows

        def rows(value: Any) -> Any:
            per_example = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == n
            return value[start:stop] if per_example else value

        target = self.target
        if isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1):
            check_target_length(target, n, self.where)
            if isinstance(target, Tensor) and bool((target < 0).any()):
                lowest = int(target.min())
                raise TargetError(f"{self.where}: `target` holds {lowest}; targets per example must not be negative.")
            target = target[start:stop]
        additional = tuple(map(rows, self.additional))
        return ScalarFunction(self.forward_func, additional, target, self.where, first=self.first + start)

    def parts(self, inputs: tuple[Tensor, ...], size: int) -> Iterator[tuple[tuple[Tensor, ...], ScalarFunction]]:
        """Yield the inputs in parts of at most ``size`` examples, each with this function for them."""
        n = len(inputs[0])
        for start in range(0, n, size):
            stop = min(start + size, n)
            own = inputs if size >= n else tuple(x[start:stop] for x in inputs)
            yield own, self.examples(start, stop, n)

    def evaluate(self, inputs: tuple[Tensor, ...], *, create_graph: bool = False) -> Evaluation:
        """Return F(x) and ∇F(x) and leave inputs, parameters and gradient modes as they are.

        Outside of inference mode only, which nothing can be differentiated in.

        Args:
            inputs: Finite floating-point tensors of shape ``(N, …)``.
            create_graph: Keep the graph, so that the gradients can be differentiated with respect to the parameters
                and, where they require it, the inputs.

        Raises:
            GradientError: If an input does not reach the output, the gradient is not finite, or autograd refuses F.
            ForwardOutputError: If F(x) is not finite.
        """
        with autograd_refusals_explained(self.where), torch.enable_grad():
            handles = tuple(_handle(x, create_graph) for x in inputs)
            values = self._run_recorded(handles, inputs)
            if not values.requires_grad:
                raise GradientError(
                    f"{self.where}: the output does not depend on the inputs through autograd, so it has no gradient. "
                    "Look for no_grad, detach, .item(), .data, numpy or integer casts in the forward function."
                    f"{_advice_on_ids(inputs)}"
                )
            gradients = torch.autograd.grad(
                values, handles, torch.ones_like(values), create_graph=create_graph, allow_unused=True
            )
        if not create_graph:
            handles, values = tuple(handle.detach() for handle in handles), values.detach()
        if not all_finite(values):
            bad = first_not_finite(values)
            raise ForwardOutputError(
                f"{self.where}: F(x) is {values[bad].item()} in example {self.first + bad}. The inputs are finite, so "
                "forward_func overflows or divides by zero; nothing can be explained about that value."
            )
        return Evaluation(handles, values, tuple(map(self._finite, gradients, inputs, range(len(inputs)))))

    def _run_recorded(self, handles: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> Tensor:
        """Return F(x) with its graph, and let no write of the forward function into its input go unseen."""
        # Copies are what a first layer that works in place may overwrite. They are made only where autograd would
        # not object (a handle that is no leaf) or has objected, because they would be the tensors by which the peak of
        # memory exceeds that of input×gradient.
        versions = [handle._version for handle in handles]
        try:
            values = self(tuple(handle if handle.is_leaf else handle.clone() for handle in handles))
        except RuntimeError as error:
            if "a leaf Variable that requires grad" not in str(error):
                raise
            values = self(tuple(handle.clone() for handle in handles))
        for i, (handle, version) in enumerate(zip(handles, versions, strict=True)):
            if handle._version != version:
                raise InputError(
                    f"{self.where}: forward_func overwrites inputs[{i}] where autograd does not see it (under no_grad "
                    "or through detach), so neither the input nor the gradient is what it was. The tensor that was "
                    f"passed {'is a copy and unharmed' if inputs[i].is_inference() else 'now holds what was written'}."
                    " Let forward_func work on a copy: x.clone()."
                )
        return values

    def _finite(self, gradient: Tensor | None, x: Tensor, index: int) -> Tensor:
        if gradient is None:
            raise GradientError(
                f"{self.where}: the output does not depend on inputs[{index}] through autograd: it is unused or "
                "detached. Leave it out of `inputs`, or pass it as an additional forward argument."
                f"{_advice_on_ids((x,))}"
            )
        if not all_finite(gradient):
            bad = self.first + first_not_finite(gradient)
            raise GradientError(
                f"{self.where}: the gradient with respect to inputs[{index}] has NaN or infinity, first in example "
                f"{bad}, although F(x) is finite. A frequent cause is the square root or a norm of exactly zero."
            )
        return gradient


def checked_arguments(additional_forward_args: object, where: str) -> tuple[Any, ...]:
    """Return what follows the inputs in a call.

    Raises:
        InputError: If a tensor among it holds no numbers.
    """
    additional = additional_arguments(additional_forward_args)
    for i, value in enumerate(additional):
        if isinstance(value, Tensor) and value.is_meta:
            raise InputError(
                f"{where}: `additional_forward_args[{i}]` is on the meta device and holds no numbers. Pass a tensor "
                "with data."
            )
    return additional


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
)
"""What PyTorch says, and what it means here."""


def additional_arguments(additional_forward_args: object) -> tuple[Any, ...]:
    """Return what follows the inputs in a call: nothing for None, one argument if it is no tuple."""
    if additional_forward_args is None:
        return ()
    several = additional_forward_args if isinstance(additional_forward_args, tuple) else (additional_forward_args,)
    return tuple(map(recordable, several))


def _advice_on_ids(inputs: tuple[Tensor, ...]) -> str:
    """Return what to do if these are ids, which the forward function casts to integers itself."""
    if not all(bool((x.detach() == x.detach().floor()).all()) for x in inputs):
        return ""
    return f" Or are these whole numbers ids that an embedding looks up? {advice_on_ids('embedding')}"


def _handle(x: Tensor, connected: bool) -> Tensor:
    """Return a tensor of the same values to differentiate by, without marking x itself.

    Where x is connected, inputs may depend on each other; each handle is a node of its own, so that the gradient by one
    input does not run through another.
    """
    if x.is_inference():
        return x.clone().requires_grad_()
    if connected and x.requires_grad:
        return x.view_as(x)
    return x.detach().requires_grad_()


def recordable(value: Any) -> Any:
    """Return tensors made in inference mode as copies that autograd may save, and anything else as it is."""
    if isinstance(value, Tensor) and value.is_inference():
        with torch.inference_mode(False):
            return value.clone()
    return value
