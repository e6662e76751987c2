"""Features: the numbers of an input that are one feature together, and are masked or removed together."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

from captum_xg._core.options import single_number
from captum_xg.errors import InputError, OptionError, OptionTypeError
from captum_xg.metrics.formatting import format_attributions
from captum_xg.metrics.protocols import Tensors

ChannelDim = int | Literal["auto"] | None


@dataclass(frozen=True)
class Features:
    """The features of a batch: what is left of the inputs' dimensions without the examples and the channels.

    Attributes:
        shapes: The shape of one example's features, for each input.
        channels: The dimension that is averaged over and masked as one, for each input; None if there is none.
    """

    shapes: tuple[torch.Size, ...]
    channels: tuple[int | None, ...]

    @classmethod
    def of(cls, inputs: tuple[Tensor, ...], channel_dim: ChannelDim, where: str, name: str = "channel_dim") -> Features:
        """Return the features of these inputs; ``name`` is what the caller calls the dimension.

        Raises:
            InputError: If an input has no such dimension.
        """
        channels = tuple(_channel(x, channel_dim, name, where) for x in inputs)
        shapes = tuple(
            torch.Size(size for d, size in enumerate(x.shape) if d not in (0, c))
            for x, c in zip(inputs, channels, strict=True)
        )
        return cls(shapes, channels)

    @property
    def sizes(self) -> list[int]:
        """The number of features in each input."""
        return [prod(shape) for shape in self.shapes]

    def attributions(self, attributions: Tensors, inputs: tuple[Tensor, ...], where: str) -> Tensor:
        """Return one attribution per feature, averaged over channels, all inputs side by side, shape ``(N, n)``.

        Raises:
            InputError: If attributions do not fit the inputs, or are not finite.
        """
        formatted = format_attributions(attributions, where)
        if len(formatted) != len(inputs):
            raise InputError(f"{where}: {len(formatted)} attributions for {len(inputs)} inputs. Pass one for each.")
        parts = []
        for a, x, channel in zip(formatted, inputs, self.channels, strict=True):
            one_channel = tuple(1 if d == channel else size for d, size in enumerate(x.shape))
            if tuple(a.shape) not in (tuple(x.shape), one_channel):
                raise InputError(
                    f"{where}: attributions of shape {tuple(a.shape)} for inputs of shape {tuple(x.shape)}. They must "
                    "have the inputs' shape, or 1 in place of its channels; bring others to it first, for example with "
                    "captum.attr.LayerAttribution.interpolate."
                )
            wide = a.to(device=inputs[0].device, dtype=torch.promote_types(a.dtype, torch.float32))
            parts.append((wide if channel is None else wide.mean(channel)).flatten(1) if x.dim() > 1 else wide[:, None])
        return parts[0] if len(parts) == 1 else torch.cat([p.to(parts[0]) for p in parts], dim=1)

    def differ(self, inputs: tuple[Tensor, ...], values: tuple[Tensor, ...]) -> Tensor:
        """Return which features change when they are masked, shape ``(N, n)``."""
        parts = []
        for x, v, channel in zip(inputs, values, self.channels, strict=True):
            different = x != v
            parts.append((different if channel is None else different.any(channel)).reshape(len(x), -1))
        return torch.cat(parts, dim=1)

    def spread(self, mask: Tensor) -> tuple[Tensor, ...]:
        """Return a mask ``(B, n)`` as one ``(B, …)`` for each input, in the shape of its features."""
        parts = torch.split(mask, self.sizes, dim=1)
        return tuple(part.reshape(len(mask), *shape) for part, shape in zip(parts, self.shapes, strict=True))

    def over_channels(self, masks: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return masks of features with a dimension of size 1 for the channels, to broadcast over them."""
        return tuple(m if c is None else m.unsqueeze(c) for m, c in zip(masks, self.channels, strict=True))


def check_channel_dim(channel_dim: ChannelDim, where: str) -> ChannelDim:
    """Return the option if it is an integer other than 0, ``"auto"`` or None.

    Raises:
        OptionError: Otherwise.
    """
    if channel_dim is None or (isinstance(channel_dim, str) and channel_dim == "auto"):
        return channel_dim
    number = single_number(channel_dim)
    if not number or number % 1:
        kind = OptionTypeError if number is None else OptionError
        raise kind(
            f"{where}: `channel_dim` must be 'auto', None (every number is a feature) or a dimension other than 0, "
            f"which counts the examples, but is {channel_dim!r}."
        )
    return int(number)


def _channel(x: Tensor, channel_dim: ChannelDim, name: str, where: str) -> int | None:
    if channel_dim is None:
        return None
    if channel_dim == "auto":
        return {1: None, 2: None, 3: 2}.get(x.dim(), 1)
    if not -x.dim() < channel_dim < x.dim():
        raise InputError(
            f"{where}: `{name}` is {channel_dim}, but an input has shape {tuple(x.shape)}. Choose one of its "
            "dimensions behind the examples, or None if every number is a feature of its own."
        )
    return channel_dim % x.dim()
