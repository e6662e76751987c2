"""Attributions together with all that the model gives at x, from one evaluation: for runs over many examples.

What is explained may depend on the outputs: the predicted class, the five largest. A call of ``attribute`` wants to
know it beforehand, which is one more forward pass. Here the function chooses its target by what it gives when it is
evaluated at x, so that outputs, targets, F and ∇F come from one forward and one backward pass, validated as always.

What must never happen: a target is chosen by what the function gives elsewhere, on the way to zero or at another scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from captum_xg._core.function import Evaluation, ScalarFunction, without_gradients
from captum_xg._core.inputs import format_inputs
from captum_xg._core.many_targets import ManyTargets
from captum_xg._core.token_ids import ids_refused
from captum_xg._core.types import Arguments, ForwardFunction, Tensors
from captum_xg.attr.explainer import Explainer
from captum_xg.attr.layer_x_gradient import LayerXGradient
from captum_xg.attr.task import Outcome, Task
from captum_xg.errors import ForwardOutputError

Rule: TypeAlias = Callable[[Tensor], Tensor]
"""From outputs ``(N, C)`` to which of them are explained, int64 ``(N, K)``; −1 where there is a single one."""


@dataclass(frozen=True)
class Observed:
    """What one batch came to.

    Attributes:
        attributions: One tensor for each input, ``(N, K, …)``.
        outputs: All that the model gives, ``(N, C)``.
        targets: Which outputs were explained, ``(N, K)``.
        gap: Σ attributions − (F(x) − F(0)), ``(N, K)``.
        further: What else there is to keep, each ``(N, K)``.
        warning: What to warn of; None if nothing.
    """

    attributions: Tensors
    outputs: Tensor
    targets: Tensor
    gap: Tensor
    further: dict[str, Tensor] = field(default_factory=dict)
    warning: str | None = None


def table_of(output: Tensor, n: int, where: str) -> Tensor:
    """Return what a model gives for n examples as ``(N, C)``, detached.

    Raises:
        ForwardOutputError: If it is neither one number nor one row of numbers for each example.
    """
    if output.dim() not in (1, 2) or len(output) != n:
        raise ForwardOutputError(
            f"{where}: the model gives shape {tuple(output.shape)} for {n} examples, and must give (N,) or (N, classes)"
            " for a data set to be explained. Wrap it in a function that returns one row of scores for each example."
        )
    return output.detach() if output.dim() == 2 else output.detach().unsqueeze(1)


def observed(
    method: Explainer, inputs: Tensors, additional: Arguments, rule: Rule, count: int, first: int = 0
) -> Observed:
    """Return attributions in closed form, with what the model gives, of a batch.

    That the model's tensors have memory is for the caller to see to, once for many batches.

    Args:
        method: :class:`~captum_xg.XGradient` or :class:`~captum_xg.LayerXGradient` that does not integrate.
        inputs: What the model is called with, ``(N, …)`` each.
        additional: What follows them.
        rule: Which outputs are explained.
        count: How many that are, K.
        first: Index of the first example, for messages.

    Raises:
        CaptumXGError: As :meth:`captum_xg.XGradient.attribute`.
    """
    assert method.on_violation != "integrate"
    where = f"{method._name}.attribute"
    with torch.inference_mode(False):
        if isinstance(method, LayerXGradient):
            return _at_layer(method, inputs, additional, rule, count, where, first)
        x = format_inputs(inputs, where)
        with ids_refused(method.forward_func, inputs, additional, where):
            outcome, outputs, targets = _explained(
                method, method.forward_func, x, additional, rule, count, where, first
            )
    return _result(outcome, outcome.attributions, outputs, targets)


def _at_layer(
    method: LayerXGradient, inputs: Tensors, additional: Arguments, rule: Rule, count: int, where: str, first: int
) -> Observed:
    behind = method._behind_at(False)
    front = method._front(inputs, None, additional, where)
    _, values = method._values(behind, front, front.n, False, where)
    outcome, outputs, targets = _explained(method, behind, values, front.arguments, rule, count, where, first)
    return _result(outcome, _one_each(behind.packed(outcome.attributions, many=True)), outputs, targets)


def _explained(
    method: Explainer,
    forward_func: ForwardFunction,
    x: Tensors,
    additional: Arguments,
    rule: Rule,
    count: int,
    where: str,
    first: int,
) -> tuple[Outcome, Tensor, Tensor]:
    n = len(x[0])
    function = _Observing(forward_func, additional, rule, where, first)
    if count == 1:
        outcome = method._explained(Task(function, x, n))
        outcome.attributions = tuple(a.unsqueeze(1) for a in outcome.attributions)
    else:  # with so many backward passes, another forward pass is little
        function.observe(without_gradients(function.output, tuple(map(Tensor.clone, x))), n)
        assert function.chosen is not None
        targets = _ChosenTargets(function.chosen, where)
        outcome = method._explained(Task(function, x, n, targets=targets))
    assert function.outputs is not None
    assert function.chosen is not None
    return outcome, function.outputs, function.chosen


def _result(outcome: Outcome, attributions: Tensors, outputs: Tensor, targets: Tensor) -> Observed:
    total = sum(a.flatten(2).sum(2, dtype=torch.float64) for a in attributions)
    assert outcome.values is not None
    values = outcome.values.reshape(targets.shape).to(torch.float64)
    return Observed(attributions, outputs, targets, total - values, warning=outcome.warning)


def _one_each(entries: list[Tensor | tuple[Tensor, ...]]) -> Tensors:
    return tuple(part for entry in entries for part in (entry if isinstance(entry, tuple) else (entry,)))


class _Observing(ScalarFunction):
    """A function that chooses its target by what it gives where it is evaluated first: at x.

    Attributes:
        outputs: All that it gave there, ``(N, C)``; None before.
        chosen: Which of them are explained, ``(N, K)``.
    """

    def __init__(
        self, forward_func: ForwardFunction, additional: Arguments, rule: Rule, where: str, first: int
    ) -> None:
        super().__init__(forward_func, additional, None, where, first=first)
        self.outputs: Tensor | None = None
        self.chosen: Tensor | None = None
        self._rule = rule
        self._at_x = False

    def evaluate(self, inputs: Tensors, *, create_graph: bool = False) -> Evaluation:
        """Return F(x) and ∇F(x), and keep what the model gives at x the first time."""
        self._at_x = True
        try:
            return super().evaluate(inputs, create_graph=create_graph)
        finally:
            self._at_x = False

    def output(self, inputs: Tensors) -> Tensor:
        """Return all numbers that the forward function gives."""
        output = super().output(inputs)
        if self._at_x and self.outputs is None:
            self.observe(output, len(inputs[0]))
            assert self.chosen is not None
            self.target = None if self.chosen[0, 0] < 0 else self.chosen[:, 0]
        return output

    def observe(self, output: Tensor, n: int) -> None:
        """Keep what the model gives at x, and what is explained of it."""
        outputs = table_of(output, n, self.where)
        self.chosen = self._rule(outputs)
        self.outputs = outputs


class _ChosenTargets(ManyTargets):
    """Targets that each example has its own of: K columns of outputs."""

    def __init__(self, chosen: Tensor, where: str) -> None:
        super().__init__(list(range(chosen.shape[1])), where)
        self._chosen = chosen

    def of(self, function: ScalarFunction, k: int) -> ScalarFunction:
        """Return a function with its k-th target."""
        return ScalarFunction(
            function.forward_func, function.additional, self._chosen[:, k], function.where, first=function.first
        )

    def values(self, function: ScalarFunction, inputs: Tensors) -> Tensor:
        """Return F(x) for all targets, shape ``(N, K)``."""
        return function.output(inputs).gather(1, self._chosen)
