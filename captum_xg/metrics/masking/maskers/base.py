"""The interface of maskers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class Masker(ABC):
    """The values that masked features take.

    A masker is any callable from inputs ``(N, …)`` to a tensor of the same shape; it need not be of this class. One
    whose values depend on *which* features are masked has the attribute ``needs_mask = True`` and is called with a
    second argument, a boolean tensor that is True where a feature is masked, of the inputs' shape without the channel
    dimension. Subclasses are compared by their settings, so that metrics with equal maskers share their work; of
    another callable, such as a lambda, only the same object counts as the same.
    """

    needs_mask: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, inputs: Tensor, /) -> Tensor:
        """Return the values that masked features take, in the shape of the inputs."""
