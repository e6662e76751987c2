"""What one call explains, and what it gives: a function between two points, and attributions with what they rest on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from captum_xg._core.function import ScalarFunction
from captum_xg._core.many_targets import ManyTargets
from captum_xg._core.types import Tensors
from captum_xg.attr.integrated import Integration


@dataclass(frozen=True)
class Task:
    """What one call explains: F from zero to x, or from another point where that can be integrated.

    Attributes:
        function: F.
        inputs: x.
        size: The most examples in one forward pass.
        start: The point, if it is not zero.
        at_once: The most points in one forward pass of an integration, if the caller has said it.
        n_steps: How many steps the caller would give to an integration.
        create_graph: Whether attributions keep their graph.
        targets: The targets, where many are explained at once; else None, and that of the function counts.
        rows: The most pairs of an example and a target in one backward pass.
    """

    function: ScalarFunction
    inputs: Tensors
    size: int
    create_graph: bool = False
    start: Tensors | None = None
    at_once: int | None = None
    targets: ManyTargets | None = None
    rows: int | None = None
    n_steps: int = 0


@dataclass
class Outcome:
    """What a task gives.

    Attributes:
        attributions: One tensor for each input, ``(N, …)``, or ``(N, K, …)`` for K targets.
        warning: What to warn of; None if nothing.
        degree: The degree of F, that of the last part; NaN where it was integrated.
        integration: How it was integrated; None for the closed form.
        values: F(x), shape ``(N,)``, where the closed form has evaluated it.
    """

    attributions: Tensors
    warning: str | None = None
    degree: float = 1.0
    integration: Integration | None = None
    values: Tensor | None = None
