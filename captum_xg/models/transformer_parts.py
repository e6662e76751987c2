"""Encoders and positions of the small transformers: of degree 1, and as they are elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captum_xg.errors import InputError
from captum_xg.nn import (
    HomogeneousTransformerEncoder,
    HomogeneousTransformerLayer,
    MultiplicativePositions,
    ScalePreservingNorm,
)


class AddedPositions(nn.Module):
    """A learned embedding per position, added: the constant that :class:`MultiplicativePositions` does without."""

    def __init__(self, max_length: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_length, dim))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens ``(N, T, dim)`` plus the embeddings of their positions."""
        if x.shape[1] > len(self.weight):
            raise InputError(
                f"AddedPositions: there are {x.shape[1]} tokens, but embeddings of {len(self.weight)} positions only."
            )
        return x + self.weight[: x.shape[1]]


def positions_of(max_length: int, dim: int, *, added: bool) -> nn.Module:
    """Return positions that are added, or factors."""
    return AddedPositions(max_length, dim) if added else MultiplicativePositions(max_length, dim)


def homogeneous_encoder(
    dim: int, heads: int, feed_forward: int, dropout: float, layers: int
) -> HomogeneousTransformerEncoder:
    """Return an encoder of degree 1, its layers drawn each for itself."""
    layer = HomogeneousTransformerLayer(dim, heads, feed_forward, dropout)
    encoder = HomogeneousTransformerEncoder(layer, layers, ScalePreservingNorm(dim))
    encoder.reset_parameters()
    return encoder


def regular_encoder(dim: int, heads: int, feed_forward: int, dropout: float, layers: int) -> nn.TransformerEncoder:
    """Return PyTorch's encoder with norms first, GELU and biases, its layers drawn each for itself."""
    layer = nn.TransformerEncoderLayer(
        dim, heads, feed_forward, dropout, nn.functional.gelu, batch_first=True, norm_first=True
    )
    encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(dim), enable_nested_tensor=False)
    for parameter in encoder.parameters():  # copies of one layer until now
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    return encoder
