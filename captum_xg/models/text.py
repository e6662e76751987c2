"""Small text classifiers over ids of tokens: ``xtext_transformer`` and ``xtext_cnn``, and their regular twins.

They are of degree 1 in the *embedded* tokens, which is what a text is attributed to: ids cannot be scaled. Explain them
by ``LayerXGradient(model, model.embedding)``, and certify what follows the embedding, ``model.from_embedding``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg._core.options import integer, positive_integer
from captum_xg.errors import InputError, OptionError, OptionTypeError
from captum_xg.models.building import checked_dropout
from captum_xg.models.transformer_parts import homogeneous_encoder, positions_of, regular_encoder

PADDING = 0
"""The id that fills up the shorter texts of a batch."""


class TextClassifier(nn.Module):
    """Ids of tokens, embedded, and what becomes of the embeddings; id 0 is padding, whose embedding is zero.

    Logits do not depend on how many padding tokens there are, nor on the other texts of the batch.

    Args:
        vocab_size: Ids, with that of padding.
        width: Numbers of an embedded token.

    Source: See the functions that build one.
    """

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=PADDING)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` for ids of tokens ``(N, T)``, padded with 0."""
        if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.dtype not in (torch.int32, torch.int64):
            got = f"{ids.dtype} of shape {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
            raise InputError(
                f"{type(self).__name__}: the ids must be integers of shape (N, T), one text in each row, but are {got}."
            )
        return self.from_embedding(self.embedding(ids), ids == PADDING)

    def from_embedding(self, tokens: Tensor, padding: Tensor) -> Tensor:
        """Return logits for embedded tokens ``(N, T, width)``; ``padding`` ``(N, T)`` is True where there is none."""
        raise NotImplementedError


class TextTransformer(TextClassifier):
    r"""A transformer encoder over the tokens, and a linear layer on the mean of those that are no padding.

    Args:
        vocab_size: Ids, with that of padding.
        positions: Tells the tokens where they are.
        encoder: From tokens, with ``src_key_padding_mask``, to tokens.
        width: Numbers of an embedded token.
        num_classes: Numbers in the output.
        bias: Whether the last layer has one.

    Source: Vaswani et al. 2017, the encoder.
    """

    def __init__(
        self, vocab_size: int, positions: nn.Module, encoder: nn.Module, *, width: int, num_classes: int, bias: bool
    ) -> None:
        super().__init__(vocab_size, width)
        self.positions = positions
        self.encoder = encoder
        self.head = nn.Linear(width, num_classes, bias=bias)

    def from_embedding(self, tokens: Tensor, padding: Tensor) -> Tensor:
        """Return logits for embedded tokens ``(N, T, width)``; ``padding`` ``(N, T)`` is True where there is none."""
        encoded = self.encoder(self.positions(tokens), src_key_padding_mask=padding)
        real = ~padding[..., None]
        mean = torch.where(real, encoded, 0.0).sum(1) / real.sum(1).clamp(min=1)
        logits: Tensor = self.head(mean)
        return logits


class TextCNN(TextClassifier):
    r"""Convolutions over windows of tokens, the largest response of each filter, and a linear layer.

    .. math:: F(x) = W \big[\max_t \max(0, w_{m,h} * x)_t\big]_{m,h}

    for filters m over windows of h tokens. Windows reach over both ends, so that the shortest text has some.

    Args:
        vocab_size: Ids, with that of padding.
        width: Numbers of an embedded token.
        windows: Sizes h.
        filters: Filters of each size.
        num_classes: Numbers in the output.
        dropout: Probability of dropout of responses, in training mode.
        bias: Whether there are biases.

    Source: Kim 2014, *Convolutional Neural Networks for Sentence Classification*.
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        width: int,
        windows: Sequence[int],
        filters: int,
        num_classes: int,
        dropout: float,
        bias: bool,
    ) -> None:
        super().__init__(vocab_size, width)
        self.windows = tuple(windows)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, filters, size, padding=size - 1, bias=bias) for size in windows
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(filters * len(windows), num_classes, bias=bias)

    def from_embedding(self, tokens: Tensor, padding: Tensor) -> Tensor:
        """Return logits for embedded tokens ``(N, T, width)``; ``padding`` ``(N, T)`` is True where there is none."""
        rows = torch.where(padding[..., None], 0.0, tokens).transpose(1, 2)
        largest = []
        for size, convolution in zip(self.windows, self.convolutions, strict=True):
            # A window that is all padding responds with the bias: it would count the padding of a text.
            real = F.pad(~padding, (size - 1, size - 1)).unfold(1, size, 1).any(-1)
            responses = torch.relu(convolution(rows))
            largest.append(torch.where(real[:, None], responses, 0.0).amax(2))
        logits: Tensor = self.head(self.dropout(torch.cat(largest, 1)))
        return logits


def xtext_transformer(
    vocab_size: int,
    *,
    num_classes: int = 2,
    d_model: int = 64,
    nhead: int = 4,
    num_layers: int = 2,
    dim_feedforward: int = 128,
    max_length: int = 128,
    dropout: float = 0.1,
) -> TextTransformer:
    """Return a text transformer that is of degree 1 in the embedded tokens, of the blocks of :mod:`captum_xg.nn`.

    Args:
        vocab_size: Ids; 0 is that of padding.
        num_classes: Numbers in the output.
        d_model: Numbers of a token.
        nhead: Heads.
        num_layers: Layers.
        dim_feedforward: Width of the feed-forward networks.
        max_length: The most tokens of a text.
        dropout: Probability of dropout in the layers, in training mode.

    Returns:
        A network from ids ``(N, T)``, padded with 0, to logits ``(N, num_classes)``.

    Raises:
        OptionError: For sizes that make no sense.

    Source: Own construction, after Vaswani et al. 2017; the blocks: see there.

    Example:
        >>> model = xtext_transformer(1000).eval()
        >>> LayerXGradient(model, model.embedding).attribute(ids, target=1).sum(-1)  # one number per token
    """
    sizes = (num_classes, d_model, nhead, num_layers, dim_feedforward, max_length)
    return _transformer("xtext_transformer", vocab_size, sizes, dropout, regular=False)


def text_transformer(
    vocab_size: int,
    *,
    num_classes: int = 2,
    d_model: int = 64,
    nhead: int = 4,
    num_layers: int = 2,
    dim_feedforward: int = 128,
    max_length: int = 128,
    dropout: float = 0.1,
) -> TextTransformer:
    """Return the regular twin of :func:`xtext_transformer`: LayerNorm, GELU, added positions, biases; same arguments.

    Source: after Vaswani et al. 2017.
    """
    sizes = (num_classes, d_model, nhead, num_layers, dim_feedforward, max_length)
    return _transformer("text_transformer", vocab_size, sizes, dropout, regular=True)


def xtext_cnn(
    vocab_size: int,
    *,
    num_classes: int = 2,
    d_model: int = 64,
    windows: Sequence[int] = (3, 4, 5),
    filters: int = 100,
    dropout: float = 0.5,
) -> TextCNN:
    """Return a CNN over texts without biases, of degree 1 in the embedded tokens.

    Args:
        vocab_size: Ids; 0 is that of padding.
        num_classes: Numbers in the output.
        d_model: Numbers of a token.
        windows: How many tokens the filters see.
        filters: Filters for each of ``windows``.
        dropout: Probability of dropout before the last layer, in training mode.

    Returns:
        A network from ids ``(N, T)``, padded with 0, to logits ``(N, num_classes)``.

    Raises:
        OptionError: For sizes that make no sense.

    Source: Kim 2014, *Convolutional Neural Networks for Sentence Classification*, without biases.
    """
    return _cnn("xtext_cnn", vocab_size, num_classes, d_model, windows, filters, dropout, bias=False)


def text_cnn(
    vocab_size: int,
    *,
    num_classes: int = 2,
    d_model: int = 64,
    windows: Sequence[int] = (3, 4, 5),
    filters: int = 100,
    dropout: float = 0.5,
) -> TextCNN:
    """Return the regular twin of :func:`xtext_cnn`, with biases; same arguments. Source: Kim 2014."""
    return _cnn("text_cnn", vocab_size, num_classes, d_model, windows, filters, dropout, bias=True)


def _transformer(
    where: str, vocab_size: object, sizes: tuple[object, ...], dropout: object, *, regular: bool
) -> TextTransformer:
    names = ("num_classes", "d_model", "nhead", "num_layers", "dim_feedforward", "max_length")
    classes, width, heads, layers, feed_forward, longest = (
        positive_integer(size, name, where) for size, name in zip(sizes, names, strict=True)
    )
    if width % heads:
        raise OptionError(f"{where}: `d_model` = {width} must be a multiple of `nhead` = {heads}.")
    build = regular_encoder if regular else homogeneous_encoder
    encoder = build(width, heads, feed_forward, checked_dropout(dropout, where), layers)
    return TextTransformer(
        _vocabulary(vocab_size, where),
        positions_of(longest, width, added=regular),
        encoder,
        width=width,
        num_classes=classes,
        bias=regular,
    )


def _cnn(
    where: str,
    vocab_size: object,
    num_classes: object,
    d_model: object,
    windows: object,
    filters: object,
    dropout: object,
    *,
    bias: bool,
) -> TextCNN:
    if isinstance(windows, str) or not isinstance(windows, Sequence):
        raise OptionTypeError(f"{where}: `windows` must be a sequence of sizes but is {type(windows).__name__}.")
    sizes = tuple(positive_integer(size, "windows", where) for size in windows)
    if not sizes:
        raise OptionError(f"{where}: `windows` must hold at least one size.")
    return TextCNN(
        _vocabulary(vocab_size, where),
        width=positive_integer(d_model, "d_model", where),
        windows=sizes,
        filters=positive_integer(filters, "filters", where),
        num_classes=positive_integer(num_classes, "num_classes", where),
        dropout=checked_dropout(dropout, where),
        bias=bias,
    )


def _vocabulary(vocab_size: object, where: str) -> int:
    return integer(vocab_size, "vocab_size", where, least=2)
