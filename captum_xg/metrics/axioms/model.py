"""The user's model as a function of one number per example, and the cases that it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg._core.function import ScalarFunction
from captum_xg._core.types import Target
from captum_xg.errors import InputError
from captum_xg.metrics.axioms.functions import Subject
from captum_xg.metrics.axioms.sources import Kind, ModelSource


class OnTarget(nn.Module):
    """One output of a model for one example's target and additional arguments, whatever the input."""

    def __init__(self, model: Callable[..., Any], function: ScalarFunction) -> None:
        super().__init__()
        if isinstance(model, nn.Module):
            self.model = model  # a child, so that methods with hooks find its layers
        self.function = function

    def __deepcopy__(self, memo: dict[int, Any]) -> OnTarget:
        return self  # one's own model may be large, and is never copied

    def forward(self, x: Tensor) -> Tensor:
        """Return F(x), shape ``(N,)``."""
        n = len(x)

        def repeated(value: Any) -> Any:
            one = isinstance(value, Tensor) and value.dim() > 0 and len(value) == 1
            return value.expand(n, *value.shape[1:]) if one else value

        target = self.function.target
        if isinstance(target, list):
            target = target * n
        function = ScalarFunction(
            self.function.forward_func,
            tuple(map(repeated, self.function.additional)),
            target,
            self.function.where,
        )
        return function((x,))


def model_subjects(
    model: Callable[..., Any],
    inputs: Tensor,
    target: Target,
    additional_forward_args: object,
    where: str,
) -> tuple[Subject, ...]:
    """Return the model as one function per example, with that example's target and additional arguments.

    Raises:
        TargetError: If the target does not fit the output.
        ForwardOutputError: If the output is not one number per example once a target is chosen.
    """
    function = ScalarFunction(model, additional_forward_args, target, where)
    with torch.no_grad():
        function((inputs.detach().clone(),))  # targets and outputs are checked before anything else
    n = len(inputs)
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", "forward_func")
    return tuple(
        Subject(
            f"{name}(x), example {i}",
            OnTarget(model, function.examples(i, i + 1, n)),
            tuple(inputs.shape[1:]),
            size=1,
        )
        for i in range(n)
    )


def model_source(subjects: tuple[Subject, ...], inputs: Tensor, references: Tensor, kind: Kind) -> ModelSource:
    """Return cases from a model, with the references that a method can take: all, the first, or zero."""
    if kind == "zero":
        references = torch.zeros_like(inputs[:1])
    return ModelSource(subjects, inputs.detach(), references if kind == "set" else references[:1], kind)


def model_references(baselines: Tensor | float | None, inputs: Tensor, where: str) -> Tensor:
    """Return the baselines as ``(K, *shape)``.

    Raises:
        InputError: If they do not fit the inputs.
    """
    if baselines is None or isinstance(baselines, (int, float)):
        return torch.full_like(inputs[:1], baselines or 0.0)
    if not isinstance(baselines, Tensor) or baselines.shape[1:] != inputs.shape[1:] or len(baselines) == 0:
        shape = f"shape {tuple(baselines.shape)}" if isinstance(baselines, Tensor) else type(baselines).__name__
        wanted = ", ".join(map(str, ("K", *inputs.shape[1:])))
        raise InputError(
            f"{where}: `baselines` has {shape} but must be a number or have shape ({wanted}): "
            "K baselines like the inputs, all of which go with every example. Pass None for zeros."
        )
    return baselines.detach().to(inputs)
