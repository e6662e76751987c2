"""What an attribution that can be trained through has to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from captum_xg.errors import NonFinitePriorError
from captum_xg.priors.forward import Forward, Pass, gradients
from captum_xg.priors.parallel import keep_whole
from captum_xg.priors.scores import Choice, ScoreRule

_HALF_SCALES = (2.0**10, 2.0**5, 1.0, 2.0**-5)


@dataclass(frozen=True)
class Batch:
    """All that an attribution may use.

    Attributes:
        forward: The model.
        inputs: Its inputs.
        additional: What follows them in a call.
        passed: The forward pass that the task loss shares.
        rule: Which scores are explained.
        choice: The same, for the classes of this batch.
        create_graph: Whether parameters are to get a gradient from what is made of the attributions.
    """

    forward: Forward
    inputs: tuple[Tensor, ...]
    additional: tuple[Any, ...]
    passed: Pass
    rule: ScoreRule
    choice: Choice
    create_graph: bool

    def gradients(self, scores: Tensor, points: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return ∂Σscores/∂points, with a graph if one is wanted."""
        found = self._scaled(scores, points)
        if self.create_graph:
            keep_whole(self.forward.model)
        return found

    def _scaled(self, scores: Tensor, points: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not self._in_half(points):
            return gradients(scores, points, create_graph=self.create_graph)
        # float16 ends at 6e-8, where gradients by inputs often are, and at 65504: a power of two keeps away from the
        # one, and a smaller one is tried if it comes to the other.
        for scale in _HALF_SCALES:
            found = gradients(scores, points, create_graph=self.create_graph, scale=scale)
            if all(bool(torch.isfinite(g).all()) for g in found):
                return found
        raise NonFinitePriorError(
            "AttributionPriorLoss: the gradient by the inputs is not finite in float16, at any scale from 2^-5 to "
            "2^10. Use bfloat16 or float32."
        )

    @staticmethod
    def _in_half(points: tuple[Tensor, ...]) -> bool:
        device = points[0].device.type
        autocast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
        return autocast or any(p.dtype == torch.float16 for p in points)


class Attribution(ABC):
    """An attribution as a function of the parameters. Subclasses take their options as keywords.

    Attributes:
        one_pass: It is made of gradients of the forward pass that the task loss uses, too.
        explains: Whether it heeds the choice of scores (else it explains something of its own).
    """

    one_pass: ClassVar[bool] = True
    explains: ClassVar[bool] = True

    def prepare(  # noqa: B027  most have nothing to refuse
        self, forward: Forward, rule: ScoreRule, inputs: tuple[Tensor, ...], additional: tuple[Any, ...], target: Any
    ) -> None:
        """Refuse what the attribution is not defined for, before the model runs for the task."""

    @abstractmethod
    def __call__(self, batch: Batch) -> list[tuple[Tensor, ...]]:
        """Return attributions for each score that is wanted, each with the shapes of the points."""
