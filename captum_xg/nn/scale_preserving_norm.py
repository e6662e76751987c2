"""``ScalePreservingNorm``: every token normalised, and all of them scaled back by one size per example."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captum_xg._core.options import positive_integer
from captum_xg.nn.masks import checked_padding
from captum_xg.nn.safe_division import divided_by_root, mean_square, root
from captum_xg.nn.shapes import check_tokens

_WHERE = "ScalePreservingNorm"


class ScalePreservingNorm(nn.Module):
    r"""Normalise the tokens of an example among each other, and keep the scale of the example.

    .. math:: y_t = s \; g \odot \frac{x_t}{\operatorname{rms}(x_t)}, \qquad
        s = \sqrt{\tfrac{1}{T} \sum_t \operatorname{rms}(x_t)^2}

    with rms(x)² the mean of the squares of a token's d numbers. Each quotient is of degree 0 and s of degree 1, so that
    y(αx) = αy(x) for every α > 0. RMSNorm, by comparison, is y with s = 1, of degree 0. A token that is zero stays
    zero, and passes on a gradient of zero.

    What it costs: every token has a share in s, so that attributions of one output reach all tokens that are not zero,
    through it, also where attention does not; unless it is causal. Without T (examples of one token each) it is
    y = g ⊙ x.

    Args:
        dim: d, the numbers of a token.
        device: Of the parameter.
        dtype: Of the parameter.

    Attributes:
        weight: g, of shape ``(dim,)``; ones at first.

    Shapes:
        ``(N, …, dim)`` to the same; the first dimension counts the examples, which do not mix.

    Raises:
        OptionError: If ``dim`` is no positive integer.
        InputError: For inputs or masks of other shapes.

    Source: Own construction, after RMSNorm (Zhang and Sennrich 2019, *Root Mean Square Layer Normalization*).

    Example:
        >>> norm = ScalePreservingNorm(4)
        >>> x = torch.randn(2, 3, 4)
        >>> torch.equal(norm(8 * x), 8 * norm(x))
        True
    """

    def __init__(self, dim: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dim = positive_integer(dim, "dim", _WHERE)
        self.weight = nn.Parameter(torch.ones(self.dim, device=device, dtype=dtype))

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Return the normalised tokens.

        Args:
            x: Tokens ``(N, …, dim)``.
            key_padding_mask: ``(N, …)``, True where a token is padding: it has no share in s, and comes out
                as zero.
            is_causal: Whether each token of ``(N, T, dim)`` has an s of its own, over itself and those before it, so
                that it depends on no later one.
        """
        check_tokens(x, self.dim, _WHERE, sequences=is_causal)
        square = mean_square(x)
        real = torch.ones_like(square, dtype=torch.bool)
        if key_padding_mask is not None:
            real = ~checked_padding(key_padding_mask, x.shape[:-1], _WHERE).unsqueeze(-1)
            square = torch.where(real, square, 0.0)
        if is_causal:
            total, count = square.cumsum(1), real.cumsum(1)
        else:
            tokens = tuple(range(1, x.dim()))
            total, count = square.sum(tokens, keepdim=True), real.sum(tokens, keepdim=True)
        size = root(total / count.clamp(min=1))
        return (divided_by_root(x, square) * size).to(x.dtype) * self.weight

    def extra_repr(self) -> str:
        """Return what distinguishes it from others."""
        return f"{self.dim}"
