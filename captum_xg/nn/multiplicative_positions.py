"""``MultiplicativePositions``: a learned factor per position and channel, where others add an embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captum_xg._core.options import positive_integer
from captum_xg.errors import InputError
from captum_xg.nn.shapes import check_tokens

_WHERE = "MultiplicativePositions"


class MultiplicativePositions(nn.Module):
    r"""Tell tokens their positions by factors: :math:`y_t = x_t \odot g_t`, linear in x.

    A position embedding that is added is a constant, as a bias is, and breaks F(αx) = αF(x).

    Args:
        max_length: The most tokens.
        dim: The numbers of a token.
        device: Of the parameter.
        dtype: Of the parameter.

    Attributes:
        weight: g, of shape ``(max_length, dim)``; at first drawn from a normal distribution around 1 with standard
            deviation 0.1.

    Shapes:
        ``(N, T, dim)`` to the same, T ≤ ``max_length``.

    Raises:
        OptionError: If a size is no positive integer.
        InputError: For inputs of other shapes, or too many tokens.

    Source: Own construction.
    """

    def __init__(
        self,
        max_length: int,
        dim: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.max_length = positive_integer(max_length, "max_length", _WHERE)
        self.dim = positive_integer(dim, "dim", _WHERE)
        self.weight = nn.Parameter(torch.empty(self.max_length, self.dim, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the factors anew."""
        nn.init.normal_(self.weight, mean=1.0, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Return each token times the factors of its position."""
        check_tokens(x, self.dim, _WHERE, sequences=True)
        length = x.shape[1]
        if length > self.max_length:
            raise InputError(
                f"{_WHERE}: there are {length} tokens, but factors for `max_length` = {self.max_length} positions "
                "only. Build it with a larger max_length, or cut the sequences."
            )
        return x * self.weight[:length]

    def extra_repr(self) -> str:
        """Return what distinguishes it from others."""
        return f"{self.max_length}, {self.dim}"
