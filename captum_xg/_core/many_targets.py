"""F and ∇F of many targets at once: one forward pass, and backward passes that carry many targets each.

The gradients of K outputs of the same examples share all of their forward pass. A backward pass over a stack of
directions, one for each target, takes them together; where an operation of the model cannot be carried so, they are
taken one after the other from the same graph.

What must never happen: memory grows with K. So as many targets go into one backward pass as ``rows`` allows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.euler import euler_sums
from captum_xg._core.evaluation import Evaluation, autograd_refusals_explained, handle_of, run_recorded
from captum_xg._core.function import ScalarFunction
from captum_xg._core.target import check_target, select
from captum_xg._core.types import Index, Tensors
from captum_xg.errors import GradientError, TargetError

Targets: TypeAlias = Iterable[Index] | Tensor | None
"""Targets that are each meant for every example; None for all classes."""

_ROWS = 256
"""How many (example, target) pairs go into one backward pass, if that is not said."""


@dataclass(frozen=True)
class ManyEvaluations:
    """F and ∇F at a batch of inputs, for K targets.

    Attributes:
        inputs: The tensors x that F was evaluated at.
        values: F(x), shape ``(N, K)``.
        gradients: ∂F/∂x, one tensor per input, of shape ``(N, K, …)``.
    """

    inputs: Tensors
    values: Tensor
    gradients: Tensors

    def of(self, k: int) -> Evaluation:
        """Return F and ∇F for one target."""
        return Evaluation(self.inputs, self.values[:, k], tuple(g[:, k] for g in self.gradients))

    def sums(self) -> tuple[Tensor, Tensor]:
        """Return Σ x·∂F and Σ|x·∂F|, shape ``(N, K)``, float64 on the CPU."""
        n, k = self.values.shape
        terms = (
            x.to(torch.promote_types(g.dtype, torch.float32)).reshape(n, 1, -1) * g.reshape(n, k, -1)
            for x, g in zip(self.inputs, self.gradients, strict=True)
        )
        total, size = euler_sums(terms, n * k, torch.zeros((), dtype=torch.float64))
        return total.reshape(n, k), size.reshape(n, k)


def checked_targets(targets: object, where: str) -> list[Index] | None:
    """Return the targets, each an index that is meant for every example; None for all classes.

    Raises:
        TargetError: If there is none, or something else than indices.
    """
    if targets is None:
        return None
    if isinstance(targets, (Tensor, np.ndarray)):
        targets = targets.tolist()
    if isinstance(targets, (str, bytes)) or not isinstance(targets, Iterable):
        raise TargetError(
            f"{where}: `targets` must be None for all classes, or a sequence of targets, each an int or a tuple of "
            f"ints and meant for every example, but is {type(targets).__name__}."
        )
    listed = [int(t) if isinstance(t, np.integer) else t for t in targets]
    if not listed:
        raise TargetError(f"{where}: `targets` is empty. Pass None for all classes.")
    for i, target in enumerate(listed):
        if isinstance(target, bool) or not isinstance(target, (int, tuple)):
            raise TargetError(
                f"{where}: `targets[{i}]` must be an int or a tuple of ints, but is {type(target).__name__}. Each "
                "target is meant for every example."
            )
    return cast("list[Index]", listed)


class ManyTargets:
    """Many targets of one function: which numbers of the output they choose.

    Args:
        targets: Each an index; None for all classes of an output ``(N, C)``.
        where: The public name that errors begin with.

    Attributes:
        asked: The targets; None for all classes.
    """

    def __init__(self, targets: list[Index] | None, where: str) -> None:
        self.asked = targets
        self._where = where
        self._known: dict[tuple[int, ...], tuple[list[Index], Tensor]] = {}

    def of(self, function: ScalarFunction, k: int) -> ScalarFunction:
        """Return a function with its k-th target."""
        target = k if self.asked is None else self.asked[k]
        unused = function.unused_as_zero
        return ScalarFunction(
            function.forward_func,
            function.additional,
            target,
            function.where,
            first=function.first,
            unused_as_zero=unused,
        )

    def values(self, function: ScalarFunction, inputs: Tensors) -> Tensor:
        """Return F(x) for all targets, shape ``(N, K)``."""
        output, n = function.output(inputs), len(inputs[0])
        chosen = output.flatten(1) if output.dim() > 1 else output[:, None]
        chosen = chosen.index_select(1, self._places(output).to(output.device))
        # Rows of a single example add up, as for one target.
        return chosen if len(chosen) == n else chosen.sum(0, keepdim=True)

    def _places(self, output: Tensor) -> Tensor:
        classes = tuple(output.shape[1:])
        if classes not in self._known:
            if self.asked is None and len(classes) != 1:
                raise TargetError(
                    f"{self._where}: forward_func returns shape {tuple(output.shape)}; `targets` of None means all "
                    "classes of an output (N, C). Pass a list of targets."
                )
            asked: list[Index] = list(range(classes[0])) if self.asked is None else self.asked
            numbers = torch.arange(output[0].numel()).reshape(1, *classes)
            places = []
            for target in asked:
                check_target(output, target, self._where)
                places.append(int(select(numbers, target)))
            self._known[classes] = asked, torch.tensor(places)
        return self._known[classes][1]


def evaluate_many(function: ScalarFunction, targets: ManyTargets, inputs: Tensors, rows: int | None) -> ManyEvaluations:
    """Return F(x) and ∇F(x) for many targets.

    Args:
        function: F; its own target is not used.
        targets: The targets.
        inputs: Finite floating-point tensors of shape ``(N, …)``.
        rows: The most pairs of an example and a target in one backward pass.

    Raises:
        ForwardOutputError, GradientError: As for one target.
    """
    with autograd_refusals_explained(function.where), torch.enable_grad():
        handles = tuple(handle_of(x, False) for x in inputs)
        values = run_recorded(lambda xs: targets.values(function, xs), handles, inputs, function.where)
        if not values.requires_grad:
            targets.of(function, 0).evaluate(inputs)  # which says why
        gradients = _gradients(values, handles, max(1, (rows or _ROWS) // len(values)))
    many = ManyEvaluations(
        tuple(h.detach() for h in handles),
        values.detach(),
        tuple(
            torch.zeros(*values.shape, *x.shape[1:], dtype=x.dtype, device=x.device) if g is None else g
            for g, x in zip(gradients, inputs, strict=True)
        ),
    )
    _require_usable(function, targets, many, gradients)
    return many


def _require_usable(
    function: ScalarFunction, targets: ManyTargets, many: ManyEvaluations, gradients: list[Tensor | None]
) -> None:
    """Let the evaluation of one target say what is wrong with it, in its own words."""
    if any(g is None for g in gradients) and not function.unused_as_zero:
        targets.of(function, 0).evaluate(many.inputs)
    finite = many.values.isfinite().all(0)
    if bool(finite.all()):  # a value that is not finite spoils the gradients of the others, too
        for g in many.gradients:
            finite = finite & g.isfinite().reshape(*many.values.shape, -1).all(2).all(0).to(finite.device)
    if not bool(finite.all()):
        bad = int((~finite).nonzero()[0])
        targets.of(function, bad).evaluate(many.inputs)
        raise GradientError(
            f"{function.where}: the gradient of targets[{bad}] has NaN or infinity together with the others, and not "
            "alone. Use attribute(…) for each target."
        )


def _gradients(values: Tensor, handles: Tensors, size: int) -> list[Tensor | None]:
    """Return the gradient of each column of the values, ``(N, K, …)``; None by what no column depends on."""
    n, count = values.shape
    found: list[Tensor | None] = [None] * len(handles)
    batched = True
    for start in range(0, count, size):
        stop = min(start + size, count)
        batched, parts = _of_columns(values, handles, start, stop, batched)
        for i, part in enumerate(parts):
            if part is None:
                continue
            whole = found[i]
            if whole is None:
                whole = torch.empty(n, count, *handles[i].shape[1:], dtype=part.dtype, device=part.device)
                found[i] = whole
            whole[:, start:stop] = part.transpose(0, 1)
    return found


def _of_columns(
    values: Tensor, handles: Tensors, start: int, stop: int, batched: bool
) -> tuple[bool, list[Tensor | None]]:
    """Return whether they could be carried together, and the gradients of some columns, ``(columns, N, …)``."""
    n, count = values.shape
    last = stop == count
    directions = torch.zeros(stop - start, n, count, dtype=values.dtype, device=values.device)
    for j in range(stop - start):
        directions[j, :, start + j] = 1
    if batched and stop - start > 1:
        try:
            with warnings.catch_warnings():
                # Operations without a rule for it are looped over inside: no slower than here.
                warnings.filterwarnings("ignore", message=".*performance drop.*")
                return True, list(
                    torch.autograd.grad(
                        values, handles, directions, retain_graph=True, allow_unused=True, is_grads_batched=True
                    )
                )
        except (RuntimeError, NotImplementedError, ValueError):
            pass  # custom functions, checkpoints, branches on values: one after the other
    each = [
        torch.autograd.grad(values, handles, d, retain_graph=not (last and j == stop - start - 1), allow_unused=True)
        for j, d in enumerate(directions)
    ]
    return batched and stop - start == 1, [_stacked(parts) for parts in zip(*each, strict=True)]


def _stacked(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    example = next((part for part in parts if part is not None), None)
    if example is None:
        return None
    return torch.stack([torch.zeros_like(example) if part is None else part for part in parts])
