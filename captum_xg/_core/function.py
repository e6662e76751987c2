"""The function that is explained: a model with its additional arguments and its target, one real number per example.

The invariant: what belongs to an example stays with it. Code that needs the model for a part of a batch, for
chosen examples or for many versions of one asks this function for that function, and never slices arguments itself; a
tensor counts as belonging to the examples if its dimension 0 has their number. Example: for targets ``[2, 0, 1]``,
``function.take(tensor([1, 1]), 3)`` explains outputs 0 and 0. What must never happen: that an example is explained by
the target or the arguments of another one, or by a target that wraps around: −1 means the last class where Captum
indexes, and nothing where it gathers, so that targets per example must not be negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeGuard, TypeVar, cast

import torch
from torch import Tensor

from captum_xg._core.evaluation import Evaluation, autograd_refusals_explained, evaluate
from captum_xg._core.options import forward_function
from captum_xg._core.target import check_output, check_target, check_target_length, select
from captum_xg._core.types import Arguments, ForwardFunction, Target, Tensors
from captum_xg.errors import InputError, TargetError

__all__ = [
    "Evaluation",
    "ScalarFunction",
    "additional_arguments",
    "autograd_refusals_explained",
    "checked_arguments",
    "has_rows",
    "recordable",
    "without_gradients",
]

Value = TypeVar("Value")


class ScalarFunction:
    """A forward function with its additional arguments and its target: x ↦ F(x), one number per example.

    The one wrapper of these three. What belongs to the examples of a batch (targets per example, additional tensors
    with one row per example) goes with them: :meth:`examples` cuts a range out, :meth:`take` chooses any examples, and
    :meth:`repeat` serves many versions of a single one.

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
        unused_as_zero: Whether the gradient by an input that F does not use is 0, and not an error.

    Example:
        >>> F = ScalarFunction(lambda x, w: x * w, torch.tensor([[1.0], [2.0]]), 0, "here")
        >>> x = torch.tensor([[3.0], [4.0]])
        >>> F((x,))  # F(x)
        tensor([3., 8.])
        >>> F.evaluate((x,)).gradients[0].flatten()  # ∇F(x)
        tensor([1., 2.])
        >>> F.take(torch.tensor([1, 1, 0]), 2)((x[[1, 1, 0]],))
        tensor([8., 8., 3.])
        >>> F.examples(1, 2, 2).repeat(3)((torch.ones(3, 1),))
        tensor([2., 2., 2.])
    """

    def __init__(
        self,
        forward_func: ForwardFunction,
        additional_forward_args: object,
        target: Target,
        where: str,
        *,
        first: int = 0,
        unused_as_zero: bool = False,
    ) -> None:
        self.forward_func: ForwardFunction = forward_function(forward_func, "forward_func", where)
        self.additional = checked_arguments(additional_forward_args, where)
        self.target: Target = recordable(target)
        self.where = where
        self.first = first
        self.unused_as_zero = unused_as_zero
        self._checked: torch.Size | None = None
        """The shape of output that the target is known to fit."""
        self._target_counts: int | None = None
        """For how many examples the target, if it is one per example, is known to have entries."""

    def __call__(self, inputs: Tensors) -> Tensor:
        """Return F(x), shape ``(N,)``."""
        n = inputs[0].shape[0]
        values = self.select(self.output(inputs), n)
        # Rows of a single example add up: the gradient of their sum is what Captum's Integrated Gradients takes.
        return values if len(values) == n else values.sum(0, keepdim=True)

    def output(self, inputs: Tensors) -> Tensor:
        """Return all numbers that the forward function gives, one row per example or several for a single one."""
        returned = self.forward_func(*inputs, *self.additional)
        return check_output(returned, inputs[0].shape[0], self.where, several_rows=True)

    def select(self, output: Tensor, n: int) -> Tensor:
        """Return what the target chooses in each row of the output for n examples."""
        target, rows = self.target, output.shape[0]
        # A list of one target for one example stands for all of its rows.
        if rows != n and isinstance(target, list) and len(target) == n:
            target = target * rows
        if output.shape != self._checked:
            # Looking at a target on an accelerator waits for it; once per shape is enough.
            unit = "example" if rows == n else "row of the output"
            check_target(output, target, self.where, self.first, unit)
            self._checked = output.shape
        return select(output, target)

    def values(self, inputs: Tensors) -> Tensor:
        """Return F(x), shape ``(N,)``, without gradients; the inputs may be overwritten."""
        return without_gradients(self, inputs)

    def examples(self, start: int, stop: int, n: int) -> ScalarFunction:
        """Return this function for the examples ``start`` to ``stop`` of a batch of ``n``."""
        if (start, stop) == (0, n):
            return self  # also where a single example has a target for each of its rows
        return self._for(slice(start, stop), stop - start, n, self.first + start)

    def take(self, indices: Tensor, n: int) -> ScalarFunction:
        """Return this function for chosen examples of a batch of ``n``, each as often as it is named.

        Args:
            indices: The examples, integers of shape ``(M,)``; messages count along them.
            n: How many examples the arguments and the target of this function are for.
        """
        return self._for(indices, len(indices), n, self.first)

    def repeat(self, count: int) -> ScalarFunction:
        """Return this function, which must be that of a single example, for ``count`` versions of it."""

        def copies(value: object) -> object:
            return value.expand(count, *value.shape[1:]) if has_rows(value, 1) else value

        # A list needs an entry for each version; a tensor of one number serves any number of them.
        target = self.target * count if isinstance(self.target, list) else self.target
        additional = tuple(map(copies, self.additional))
        return self._with(additional, target, self.first)

    def parts(self, inputs: Tensors, size: int) -> Iterator[tuple[Tensors, ScalarFunction]]:
        """Yield the inputs in parts of at most ``size`` examples, each with this function for them."""
        n = len(inputs[0])
        for start in range(0, n, size):
            stop = min(start + size, n)
            own = inputs if size >= n else tuple(x[start:stop] for x in inputs)
            yield own, self.examples(start, stop, n)

    def require_target(self, output: Tensor, n: int) -> None:
        """Check the targets of all n examples against the output for some of them, once for all that is taken.

        Raises:
            TargetError: If the target does not choose one number for each of n examples in outputs of that shape.
        """
        self._target_per_example(n)
        # Targets of examples that are not run now must be refused now, too, and not in the middle of the work.
        if self._checked is None or self._checked[1:] != output.shape[1:] or self._checked[0] != n:
            self.select(output[:1].expand(n, *output.shape[1:]), n)

    def _for(self, rows: slice | Tensor, count: int, n: int, first: int) -> ScalarFunction:
        target = self.target
        if self._target_per_example(n):
            if isinstance(target, Tensor):
                target = _rows(target, rows)
            elif isinstance(target, list):
                target = target[rows] if isinstance(rows, slice) else [target[i] for i in rows.tolist()]
        # A tensor that happens to have n rows is taken for one per example: nothing tells it from one that is.
        additional = tuple(_rows(value, rows) if has_rows(value, n) else value for value in self.additional)
        taken = self._with(additional, target, first)
        taken._target_counts = count  # chosen from targets that have been looked at
        # What fits n examples fits some of them. On an accelerator another look would wait for it, for each part.
        if self._checked is not None and self._checked[0] == n:
            taken._checked = torch.Size((count, *self._checked[1:]))
        return taken

    def _with(self, additional: Arguments, target: Target, first: int) -> ScalarFunction:
        return ScalarFunction(
            self.forward_func, additional, target, self.where, first=first, unused_as_zero=self.unused_as_zero
        )

    def _target_per_example(self, n: int) -> bool:
        """Return whether every example has a target of its own, of which there must be n, not negative."""
        target = self.target
        if not (isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1)):
            return False
        if self._target_counts != n:
            check_target_length(target, n, self.where)
            if isinstance(target, Tensor) and bool((target < 0).any()):
                raise TargetError(
                    f"{self.where}: `target` holds {int(target.min())}; targets per example must not be negative."
                )
            self._target_counts = n
        return True

    def evaluate(self, inputs: Tensors, *, create_graph: bool = False) -> Evaluation:
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
        unused = self.unused_as_zero
        return evaluate(self, inputs, self.where, first=self.first, create_graph=create_graph, unused_as_zero=unused)


def checked_arguments(additional_forward_args: object, where: str) -> Arguments:
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


def additional_arguments(additional_forward_args: object) -> Arguments:
    """Return what follows the inputs in a call: nothing for None, one argument if it is not a tuple."""
    if additional_forward_args is None:
        return ()
    several = additional_forward_args if isinstance(additional_forward_args, tuple) else (additional_forward_args,)
    return tuple(map(recordable, several))


def recordable(value: Value) -> Value:
    """Return tensors made in inference mode as copies that autograd may save, and anything else as it is."""
    if isinstance(value, Tensor) and value.is_inference():
        with torch.inference_mode(False):
            return cast(Value, value.clone())
    return value


def without_gradients(forward: Callable[[Tensors], Tensor], inputs: Tensors) -> Tensor:
    """Return what a function of the inputs gives, detached, and computed without gradients where that is possible.

    A forward function that differentiates by its input itself (input×gradient inside of the model, say) needs them; it
    is run a second time then. The inputs may be overwritten.
    """
    with torch.no_grad():
        try:
            return forward(inputs)
        except RuntimeError as error:
            if "does not require grad" not in str(error):
                raise
    with torch.enable_grad():
        return forward(tuple(x.detach().requires_grad_() for x in inputs)).detach()


def has_rows(value: object, n: int) -> TypeGuard[Tensor]:
    """Return whether an additional argument has one row for each of n examples, and is sliced with them."""
    return isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == n


def _rows(value: Tensor, rows: slice | Tensor) -> Tensor:
    return value[rows if isinstance(rows, slice) else rows.to(value.device)]
