"""The base of all attributions that can be trained through, what they are given, and the registry of their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from captum_xg._core.types import Arguments, Tensors
from captum_xg.errors import NonFinitePriorError
from captum_xg.priors.forward import Forward, Pass, gradients
from captum_xg.priors.supported import WHERE, gather_parameters
from captum_xg.priors.target_selection import Selection, TargetSelector

_HALF_SCALES = (2.0**10, 2.0**5, 1.0, 2.0**-5)


@dataclass(frozen=True)
class Batch:
    """All that an attribution may use.

    Attributes:
        forward: The model.
        inputs: Its inputs.
        additional: What follows them in a call.
        passed: The forward pass that the task loss shares.
        selector: Which scores are explained.
        selection: The same, for the classes of this batch.
        create_graph: Whether parameters are to get a gradient from what is made of the attributions.
    """

    forward: Forward
    inputs: Tensors
    additional: Arguments
    passed: Pass
    selector: TargetSelector
    selection: Selection
    create_graph: bool

    def gradients(self, scores: Tensor, points: Tensors) -> Tensors:
        """Return ∂Σscores/∂points, with a graph if one is wanted."""
        found = self._scaled(scores, points)
        if self.create_graph:
            gather_parameters(self.forward.model)
        return found

    def _scaled(self, scores: Tensor, points: Tensors) -> Tensors:
        if not self._in_half(points):
            return gradients(scores, points, create_graph=self.create_graph)
        # float16 ends at 6e-8, where gradients by inputs often are, and at 65504: a power of two keeps away from the
        # one, and a smaller one is tried if it comes to the other.
        for scale in _HALF_SCALES:
            found = gradients(scores, points, create_graph=self.create_graph, scale=scale)
            if all(bool(torch.isfinite(g).all()) for g in found):
                return found
        raise NonFinitePriorError(
            f"{WHERE}: the gradient by the inputs is not finite in float16, at any scale from 2^-5 to "
            "2^10. Use bfloat16 or float32."
        )

    @staticmethod
    def _in_half(points: Tensors) -> bool:
        device = points[0].device.type
        autocast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
        return autocast or any(p.dtype == torch.float16 for p in points)


class Attribution(ABC):
    """An attribution as a function of the parameters. Subclasses take their options as keywords.

    With :func:`register_attribution` it has a name that ``AttributionPriorLoss(attribution=…)`` knows it by; without
    one, pass an instance of it.

    Attributes:
        one_pass: It is made of gradients of the forward pass that the task loss uses, too.
        explains: Whether it heeds the choice of scores (else it explains something of its own).

    Example:
        >>> @register_attribution("squared_gradient")
        ... class SquaredGradient(Attribution):
        ...     def __call__(self, batch):
        ...         scores = batch.selection.scores(batch.passed.explained)
        ...         found = (batch.gradients(each, batch.passed.points) for each in scores)
        ...         return [tuple(g.square() for g in each) for each in found]
        >>> forget_attribution("squared_gradient")
    """

    one_pass: ClassVar[bool] = True
    explains: ClassVar[bool] = True

    def prepare(  # noqa: B027  most have nothing to refuse
        self, forward: Forward, selector: TargetSelector, inputs: Tensors, additional: Arguments, target: object
    ) -> None:
        """Refuse what the attribution is not defined for, before the model runs for the task."""

    @abstractmethod
    def __call__(self, batch: Batch) -> list[Tensors]:
        """Return attributions for each score that is wanted, each with the shapes of the points."""


ATTRIBUTIONS: dict[str, type[Attribution]] = {}
"""The attributions by the names that ``AttributionPriorLoss`` knows them by."""

Kind = TypeVar("Kind", bound=type[Attribution])


def register_attribution(name: str) -> Callable[[Kind], Kind]:
    """Return a decorator that makes an attribution known to ``AttributionPriorLoss`` by a name.

    Raises:
        ValueError: If there is one of that name.
    """

    def register(kind: Kind) -> Kind:
        if name in ATTRIBUTIONS:
            raise ValueError(f"register_attribution: {name!r} is {ATTRIBUTIONS[name].__name__}. Choose another name.")
        ATTRIBUTIONS[name] = kind
        return kind

    return register


def forget_attribution(name: str) -> None:
    """Take back what :func:`register_attribution` did."""
    del ATTRIBUTIONS[name]
