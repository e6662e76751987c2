"""Means as the values of masked features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from captum_xg._core.options import integer
from captum_xg.errors import InputError, OptionError, OptionTypeError
from captum_xg.metrics.masking.maskers.base import Masker


@dataclass(frozen=True, eq=False)
class Mean(Masker):
    r"""Masked features take a mean: of the batch, of their own example, or one that is given.

    =============  ==========================================  =================================
    ``of``         inputs of three dimensions or more          inputs ``(N, D)``
    =============  ==========================================  =================================
    ``"batch"``    one mean per channel, over N and positions  one mean per feature, over N
    ``"example"``  one mean per example and channel            one mean per example
    a tensor       one number per channel, or any shape that   one number per feature
                   broadcasts to the inputs
    =============  ==========================================  =================================

    ``"batch"`` makes a result depend on how the data are cut into batches; give the means of the training data to avoid
    that.

    Args:
        of: ``"batch"``, ``"example"``, or a tensor of means in the units of the inputs.
        channel_dim: The dimension of the channels. By default 1 for images ``(N, C, H, W)`` and the last one for
            sequences ``(N, L, D)``.

    Raises:
        OptionError: If ``of`` is something else, or a tensor with NaN or infinity.
    """

    of: Literal["batch", "example"] | Tensor = "batch"
    channel_dim: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.of, Tensor):
            if not bool(torch.isfinite(self.of).all()):
                raise OptionError("Mean: `of` has NaN or infinity. Means of data with gaps need torch.nanmean.")
        elif not isinstance(self.of, str) or self.of not in ("batch", "example"):
            kind = OptionError if isinstance(self.of, str) else OptionTypeError
            raise kind(f"Mean: `of` must be 'batch', 'example' or a tensor of means but is {self.of!r}.")
        if self.channel_dim is not None:
            object.__setattr__(self, "channel_dim", integer(self.channel_dim, "channel_dim", "Mean"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mean) or self.channel_dim != other.channel_dim:
            return False
        if isinstance(self.of, Tensor) or isinstance(other.of, Tensor):
            return self.of is other.of
        return self.of == other.of

    __hash__ = None  # type: ignore[assignment]  # as for any class that defines equality alone

    def __call__(self, inputs: Tensor, /) -> Tensor:
        """Return the means in the shape of the inputs.

        Raises:
            InputError: If given means fit neither the channels (features) nor the shape of the inputs.
        """
        channel = self._channel(inputs)
        if isinstance(self.of, Tensor):
            return self._given(self.of.to(inputs), inputs, channel)
        pooled = [d for d in range(inputs.dim()) if d not in (0, channel)]
        if self.of == "batch":
            pooled = [0] if inputs.dim() <= 2 else [0, *pooled]
        return inputs.mean(pooled, keepdim=True).expand(inputs.shape) if pooled else inputs

    def _channel(self, inputs: Tensor) -> int | None:
        if self.channel_dim is not None:
            return self.channel_dim % inputs.dim()
        return {1: None, 2: None, 3: 2}.get(inputs.dim(), 1)

    def _given(self, means: Tensor, inputs: Tensor, channel: int | None) -> Tensor:
        place = 1 if channel is None else channel
        if means.dim() == 1 and inputs.dim() > 1 and means.numel() == inputs.shape[place]:
            means = means.reshape([-1 if d == place else 1 for d in range(inputs.dim())])
        try:
            return means.expand(inputs.shape)
        except RuntimeError:
            raise InputError(
                f"Mean: means of shape {tuple(means.shape)} for inputs of shape {tuple(inputs.shape)}; give one number "
                f"for each of the {inputs.shape[place] if inputs.dim() > 1 else 1} entries of dimension {place}, or a "
                "shape that broadcasts to the inputs."
            ) from None
