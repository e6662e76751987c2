"""``CosineAttention``: self-attention of degree 1, whose weights depend on the directions of tokens alone.

The invariant: every logit is of degree 0 in the input, every value of degree 1, and what a mask forbids has no weight.

What must never happen: that a row in which all is forbidden, or a token that is zero, gives NaN in a value or in a
derivative. So forbidden logits get the lowest finite number, and their weights are set to zero after the softmax.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg._core.options import number_that, one_of, positive_integer, switch
from captum_xg.errors import InputError, OptionError
from captum_xg.nn.masks import checked_attention_mask, checked_padding
from captum_xg.nn.rotary import rotated
from captum_xg.nn.safe_division import divided_by_root, mean_square
from captum_xg.nn.shapes import check_tokens

_WHERE = "CosineAttention"
Positions = Literal["rotary", "relative"] | None


class CosineAttention(nn.Module):
    r"""Self-attention of degree 1: cosines of queries and keys as logits, values as they are.

    .. math:: a^h_{ij} = \operatorname{softmax}_j\big(\tau_h \cos(q^h_i, k^h_j) + B^h_{ij}\big), \qquad
        y_i = W_o \big[\textstyle\sum_j a^h_{ij} v^h_j\big]_h, \qquad (q, k, v) = W x

    The cosines do not change with the scale of x, and the values scale with it, so that y(αx) = αy(x) for every α > 0.
    A zero query or key has cosine 0 with all others. There are no biases. A padding token gets no attention and comes
    out as zero; so does a token that may attend to nothing.

    Args:
        embed_dim: d, the numbers of a token.
        num_heads: Heads, each of d / ``num_heads`` numbers.
        dropout: Probability that an attention weight is dropped in training mode.
        positions: What the logits know of positions. ``"relative"``: a learned :math:`B^h_{i-j}`, zero at first, for up
            to ``max_length`` tokens. ``"rotary"``: normalised queries and keys are rotated by angles proportional to
            their positions, for any length; heads must be of even size. None: nothing, unless a mask adds it.
        max_length: The most tokens, for ``"relative"`` alone.
        fused: Whether to call PyTorch's fused kernel (``scaled_dot_product_attention``), which needs no memory of
            T × T. It is proven, too, and XGradient works with it; but its gradient has no gradient itself, so
            that attribution priors and ``create_graph=True`` need ``False``, the plain formula.
        device: Of the parameters.
        dtype: Of the parameters.

    Attributes:
        log_scale: log τ per head, ``(num_heads,)``; at first τ = √(d / num_heads), with which the logits of random
            tokens have unit variance, as those of scaled dot products. τ is at most 100.

    Shapes:
        ``(N, T, embed_dim)`` to the same; examples do not mix.

    Raises:
        OptionError: For options that make no sense together.
        InputError: For inputs or masks of other shapes, or too many tokens.

    Source: Cosine logits with a learned temperature: Liu et al. 2022, *Swin Transformer V2*, Section 3.2; Henry et al.
        2020, *Query-Key Normalization for Transformers*. Rotary positions: Su et al. 2021, *RoFormer*. Relative ones:
        Raffel et al. 2020, Section 2.1. That it is of degree 1, without biases: own.

    Example:
        >>> attention = CosineAttention(8, 2)
        >>> x = torch.randn(2, 5, 8)
        >>> torch.equal(attention(8 * x), 8 * attention(x))
        True
    """

    relative_bias: nn.Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        dropout: float = 0.0,
        positions: Positions = None,
        max_length: int | None = None,
        fused: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.embed_dim = positive_integer(embed_dim, "embed_dim", _WHERE)
        self.num_heads = positive_integer(num_heads, "num_heads", _WHERE)
        # A module, and no function in the forward pass, so that proofs for training know how it drops.
        self.dropout = nn.Dropout(
            number_that(dropout, lambda p: 0 <= p <= 1, "a probability in [0, 1]", "dropout", _WHERE)
        )
        self.positions: Positions = one_of(positions, ("rotary", "relative", None), "positions", _WHERE)
        self.fused = switch(fused, "fused", _WHERE)
        if self.embed_dim % self.num_heads:
            raise OptionError(
                f"{_WHERE}: `embed_dim` = {self.embed_dim} must be a multiple of `num_heads` = {self.num_heads}."
            )
        self.head_dim = self.embed_dim // self.num_heads
        if self.positions == "rotary" and self.head_dim % 2:
            raise OptionError(
                f"{_WHERE}: rotary positions turn pairs of numbers, but a head has {self.head_dim} "
                "(embed_dim / num_heads). Choose another number of heads, or positions='relative'."
            )
        self.max_length = _checked_length(max_length, self.positions)
        self.in_proj = nn.Linear(self.embed_dim, 3 * self.embed_dim, bias=False, device=device, dtype=dtype)
        self.out_proj = nn.Linear(self.embed_dim, self.embed_dim, bias=False, device=device, dtype=dtype)
        self.log_scale = nn.Parameter(torch.empty(self.num_heads, device=device, dtype=dtype))
        table = None
        if self.max_length is not None:
            table = nn.Parameter(torch.empty(self.num_heads, 2 * self.max_length - 1, device=device, dtype=dtype))
        self.register_parameter("relative_bias", table)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew: Xavier's uniform ones."""
        for rows in self.in_proj.weight.chunk(3):
            nn.init.xavier_uniform_(rows)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.constant_(self.log_scale, 0.5 * math.log(self.head_dim))
        if self.relative_bias is not None:
            nn.init.zeros_(self.relative_bias)

    def forward(
        self,
        x: Tensor,
        key_padding_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return what the tokens gather.

        Args:
            x: Tokens ``(N, T, embed_dim)``.
            key_padding_mask: ``(N, T)``, True where a token is padding.
            attn_mask: ``(T, T)`` or ``(N·num_heads, T, T)``, rows for queries: True where attention is forbidden, or
                numbers that are added to the logits. It must not depend on the input.
            is_causal: Whether a token attends to itself and those before it only, whatever ``attn_mask`` says.
        """
        check_tokens(x, self.embed_dim, _WHERE, sequences=True)
        queries, keys, values = self.in_proj(x).unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        queries, keys = _direction(queries), _direction(keys)
        if self.positions == "rotary":
            queries, keys = rotated(queries), rotated(keys)
        queries = queries * self.log_scale.exp().clamp(max=100.0)[:, None, None]
        padding = None if key_padding_mask is None else checked_padding(key_padding_mask, x.shape[:2], _WHERE)
        forbidden, added = self._masks(x, padding, attn_mask, is_causal)
        if self.fused:
            p = self.dropout.p if self.dropout.training else 0.0
            gathered = _fused(queries, keys, values, forbidden, added, p)
        else:
            gathered = self.dropout(_weights(queries, keys, forbidden, added)) @ values
        output: Tensor = self.out_proj(gathered.transpose(1, 2).flatten(2))
        return output if padding is None else output.masked_fill(padding[..., None], 0.0)

    def _masks(
        self, x: Tensor, padding: Tensor | None, attn_mask: Tensor | None, is_causal: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return what is forbidden, and what is added to the logits, in shapes that fit them."""
        n, length = x.shape[:2]
        forbidden = None if padding is None else padding[:, None, None, :]
        added = self._bias(length, x)
        if attn_mask is not None:
            more, numbers = checked_attention_mask(attn_mask, n, self.num_heads, length, _WHERE)
            forbidden = more if forbidden is None else forbidden | more
            if numbers is not None:
                added = numbers.to(x.dtype) if added is None else added + numbers.to(x.dtype)
        if is_causal:
            later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
            forbidden = later if forbidden is None else forbidden | later
        return forbidden, added

    def _bias(self, length: int, x: Tensor) -> Tensor | None:
        """Return the relative bias ``(num_heads, T, T)``."""
        if self.relative_bias is None or self.max_length is None:
            return None
        if length > self.max_length:
            raise InputError(
                f"{_WHERE}: there are {length} tokens, but relative positions for `max_length` = {self.max_length} "
                "only. Build it with a larger max_length, or with positions='rotary'."
            )
        place = torch.arange(length, device=x.device)
        return self.relative_bias[:, place[:, None] - place + self.max_length - 1]

    def extra_repr(self) -> str:
        """Return what distinguishes it from others."""
        length = f", max_length={self.max_length}" if self.max_length else ""
        return f"{self.embed_dim}, {self.num_heads}, positions={self.positions!r}{length}, fused={self.fused}"


def _direction(x: Tensor) -> Tensor:
    """Return x/‖x‖ along the last dimension, zero where x is."""
    return (divided_by_root(x, mean_square(x)) / math.sqrt(x.shape[-1])).to(x.dtype)


def _weights(queries: Tensor, keys: Tensor, forbidden: Tensor | None, added: Tensor | None) -> Tensor:
    logits = queries @ keys.transpose(-2, -1)
    if added is not None:
        logits = logits + added
    if forbidden is not None:
        logits = logits.masked_fill(forbidden, torch.finfo(logits.dtype).min)
    weights = logits.softmax(-1)
    # Rows in which all is forbidden are uniform by now.
    return weights if forbidden is None else weights.masked_fill(forbidden, 0.0)


def _fused(
    queries: Tensor, keys: Tensor, values: Tensor, forbidden: Tensor | None, added: Tensor | None, dropout: float
) -> Tensor:
    mask = added
    if forbidden is not None:
        # Where all is forbidden, all is allowed and the result set to zero: kernels differ in what they make of it.
        nothing = forbidden.all(-1, keepdim=True)
        zero = added if added is not None else torch.zeros((), dtype=queries.dtype, device=queries.device)
        mask = torch.where(forbidden & ~nothing, -math.inf, zero).to(queries.dtype)
    if mask is not None:
        mask = mask.expand(*queries.shape[:2], *mask.shape[-2:]) if mask.dim() < 4 else mask
    gathered = F.scaled_dot_product_attention(queries, keys, values, mask, dropout, scale=1.0)
    return gathered if forbidden is None else gathered.masked_fill(nothing, 0.0)


def _checked_length(max_length: object, positions: Positions) -> int | None:
    if positions != "relative":
        if max_length is not None:
            raise OptionError(f"{_WHERE}: `max_length` is for positions='relative', but positions={positions!r}.")
        return None
    if max_length is None:
        raise OptionError(f"{_WHERE}: positions='relative' needs `max_length`, the most tokens there will be.")
    return positive_integer(max_length, "max_length", _WHERE)
