"""``HomogeneousTransformerLayer`` and ``…Encoder``: PyTorch's transformer encoder, of degree 1."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg._core.options import number_that, positive_integer, switch
from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.nn.cosine_attention import CosineAttention, Positions
from captum_xg.nn.gated_relu import GatedReLU
from captum_xg.nn.scale_preserving_norm import ScalePreservingNorm

_LAYER, _ENCODER = "HomogeneousTransformerLayer", "HomogeneousTransformerEncoder"


class HomogeneousTransformerLayer(nn.Module):
    r"""Self-attention and a feed-forward network, each behind a norm and beside a shortcut, all of degree 1.

    .. math:: x \leftarrow x + \operatorname{attention}(\operatorname{norm}(x)), \qquad
        x \leftarrow x + W_2 \, \phi(W_1 \operatorname{norm}(x))

    with :class:`CosineAttention`, :class:`ScalePreservingNorm`, and φ a ReLU or :class:`GatedReLU`; with
    ``norm_first=False`` the norms come after the sums. It takes the place of ``torch.nn.TransformerEncoderLayer``: the
    same arguments in the same order. What would break F(αx) = αF(x) is refused: biases, an ε in the norm, activations
    other than these. Tokens that are padding come out as zero.

    Args:
        d_model: Numbers of a token.
        nhead: Heads.
        dim_feedforward: Width of the hidden layer of the feed-forward network.
        dropout: Probability of dropout in training mode, of attention weights, hidden units and both branches.
        activation: ``"relu"``, or ``"gated_relu"``, for which W₁ is of twice the width.
        layer_norm_eps: 0.
        batch_first: True; examples are in the first dimension.
        norm_first: Whether the norms come before attention and feed-forward network. (True by default, other than in
            PyTorch: deep transformers train more stably so.)
        bias: False.
        device: Of the parameters.
        dtype: Of the parameters.
        positions: As of :class:`CosineAttention`.
        max_length: As of :class:`CosineAttention`.
        fused: As of :class:`CosineAttention`.

    Shapes:
        ``(N, T, d_model)`` to the same; examples do not mix.

    Raises:
        OptionError: For an argument that would break homogeneity, or has no such value.
        InputError: For inputs or masks of other shapes.

    Source: Vaswani et al. 2017, *Attention Is All You Need*; Xiong et al. 2020 (the norm first), *On Layer
    Normalization in the Transformer Architecture*. The parts: see there.

    Example:
        >>> layer = HomogeneousTransformerLayer(64, 4, 128).eval()
        >>> certify(layer, torch.randn(2, 10, 64)).degree
        1.0
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | nn.Module | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 0.0,
        batch_first: bool = True,
        norm_first: bool = True,
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        positions: Positions = None,
        max_length: int | None = None,
        fused: bool = False,
    ) -> None:
        super().__init__()
        _refuse_what_breaks(layer_norm_eps, batch_first, bias)
        d_model = positive_integer(d_model, "d_model", _LAYER)
        nhead = positive_integer(nhead, "nhead", _LAYER)
        width = positive_integer(dim_feedforward, "dim_feedforward", _LAYER)
        p = number_that(dropout, lambda p: 0 <= p <= 1, "a probability in [0, 1]", "dropout", _LAYER)
        self.norm_first = switch(norm_first, "norm_first", _LAYER)
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        self.self_attn = CosineAttention(
            d_model, nhead, dropout=p, positions=positions, max_length=max_length, fused=fused, **where
        )
        self.activation = _activation(activation)
        gated = isinstance(self.activation, GatedReLU)
        self.linear1 = nn.Linear(d_model, 2 * width if gated else width, bias=False, **where)
        self.linear2 = nn.Linear(width, d_model, bias=False, **where)
        self.norm1 = ScalePreservingNorm(d_model, **where)
        self.norm2 = ScalePreservingNorm(d_model, **where)
        self.dropout = nn.Dropout(p)
        self.dropout1 = nn.Dropout(p)
        self.dropout2 = nn.Dropout(p)
        self.reset_parameters()

    def reset_parameters(self, depth: int = 1) -> None:
        """Draw the weights anew, for one of ``depth`` layers that follow each other.

        The last weights of both branches are divided by √(2 · depth). For each branch is as large as what it is added
        to, whose scale the norm keeps, so that the tokens would double in every layer.
        """
        self.self_attn.reset_parameters()
        nn.init.kaiming_uniform_(self.linear1.weight, nonlinearity="relu")
        nn.init.xavier_uniform_(self.linear2.weight)
        with torch.no_grad():
            for last in (self.self_attn.out_proj.weight, self.linear2.weight):
                last.div_(math.sqrt(2 * depth))
            for norm in (self.norm1, self.norm2):
                norm.weight.fill_(1.0)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Return the tokens after both branches; masks are those of :class:`CosineAttention`.

        With ``is_causal`` no token depends on a later one, through the norms neither. A causal ``src_mask`` alone does
        not say that to the norms.
        """
        x, padding = src, src_key_padding_mask
        if self.norm_first:
            x = x + self._attend(self.norm1(x, padding, is_causal), padding, src_mask, is_causal)
            x = x + self._feed(self.norm2(x, padding, is_causal))
        else:
            x = self.norm1(x + self._attend(x, padding, src_mask, is_causal), padding, is_causal)
            x = self.norm2(x + self._feed(x), padding, is_causal)
        return x if padding is None else x.masked_fill(padding[..., None], 0.0)

    def _attend(self, x: Tensor, padding: Tensor | None, mask: Tensor | None, is_causal: bool) -> Tensor:
        branch: Tensor = self.dropout1(self.self_attn(x, padding, mask, is_causal))
        return branch

    def _feed(self, x: Tensor) -> Tensor:
        branch: Tensor = self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))
        return branch


class HomogeneousTransformerEncoder(nn.Module):
    """A stack of :class:`HomogeneousTransformerLayer`, of degree 1, with the arguments of ``nn.TransformerEncoder``.

    Args:
        encoder_layer: The layer that the stack is made of copies of, as in PyTorch with equal weights at first. Call
            :meth:`reset_parameters` to train from scratch.
        num_layers: How many.
        norm: A last norm, such as a :class:`ScalePreservingNorm`.
        enable_nested_tensor: False.
        mask_check: Without effect, as there are no nested tensors.

    Shapes:
        ``(N, T, d_model)`` to the same; examples do not mix.

    Raises:
        OptionTypeError: If ``encoder_layer`` or ``norm`` is something else.
        OptionError: If ``num_layers`` is no positive integer, or nested tensors are asked for.

    Source: As :class:`HomogeneousTransformerLayer`.
    """

    def __init__(
        self,
        encoder_layer: HomogeneousTransformerLayer,
        num_layers: int,
        norm: ScalePreservingNorm | None = None,
        enable_nested_tensor: bool = False,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(encoder_layer, HomogeneousTransformerLayer):
            raise OptionTypeError(
                f"{_ENCODER}: `encoder_layer` must be a {_LAYER} but is {_kind(encoder_layer)}. To convert a model "
                "with other layers use to_xdnn."
            )
        if norm is not None and not isinstance(norm, ScalePreservingNorm):
            raise OptionTypeError(
                f"{_ENCODER}: `norm` must be a ScalePreservingNorm or None but is {_kind(norm)}, which does not keep "
                "the scale of the input."
            )
        if switch(enable_nested_tensor, "enable_nested_tensor", _ENCODER):
            raise OptionError(f"{_ENCODER}: there are no nested tensors; `enable_nested_tensor` must be False.")
        switch(mask_check, "mask_check", _ENCODER)
        self.num_layers = positive_integer(num_layers, "num_layers", _ENCODER)
        self.layers = nn.ModuleList(copy.deepcopy(encoder_layer) for _ in range(self.num_layers))
        self.norm = norm

    def reset_parameters(self) -> None:
        """Draw the weights of every layer anew, for a stack of this depth."""
        for layer in self.layers:
            layer.reset_parameters(depth=self.num_layers)  # type: ignore[operator]
        if self.norm is not None:
            nn.init.ones_(self.norm.weight)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Return the tokens after all layers; masks are those of :class:`HomogeneousTransformerLayer`."""
        x = src
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, bool(is_causal))
        if self.norm is not None:
            x = self.norm(x, src_key_padding_mask, bool(is_causal))
        return x


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _activation(value: object) -> nn.Module:
    if isinstance(value, nn.ReLU | GatedReLU):
        return value
    if value == "relu" or value in (F.relu, torch.relu):
        return nn.ReLU()
    if value == "gated_relu":
        return GatedReLU()
    shown = repr(value) if isinstance(value, str) else getattr(value, "__name__", type(value).__name__)
    raise OptionError(
        f"{_LAYER}: `activation` must be 'relu' or 'gated_relu' but is {shown}. A curved activation, such as GELU, "
        "does not satisfy f(αx) = αf(x)."
    )


def _refuse_what_breaks(eps: object, batch_first: object, bias: object) -> None:
    if switch(bias, "bias", _LAYER):
        raise OptionError(f"{_LAYER}: `bias` must be False: a bias breaks F(αx) = αF(x), which this layer is for.")
    if number_that(eps, lambda e: e >= 0, "a number ≥ 0", "layer_norm_eps", _LAYER):
        raise OptionError(
            f"{_LAYER}: `layer_norm_eps` must be 0: a constant added to a norm breaks F(αx) = αF(x), and tokens that "
            "are zero need none."
        )
    if not switch(batch_first, "batch_first", _LAYER):
        raise OptionError(
            f"{_LAYER}: `batch_first` must be True: tokens are of shape (N, T, d_model). Transpose others before."
        )
