"""The text networks that are compared: each of degree 1 in the embedded tokens, and its regular twin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captum_xg import models
from captum_xg.models.text import TextClassifier
from captum_xg.repro.texts.settings import Settings

ARCHITECTURES = {"bag": "bag of embeddings", "cnn": "CNN", "transformer": "transformer"}
"""Key → how it is called in tables."""


class BagOfEmbeddings(TextClassifier):
    """The mean of the embedded tokens, and two linear layers with a ReLU between them.

    Args:
        vocab_size: Ids, with that of padding.
        width: Numbers of an embedded token, and hidden units.
        outputs: Numbers in the output.
        bias: Whether the linear layers have biases; without them it is of degree 1.

    Source: after Iyyer et al. 2015, *Deep Unordered Composition Rivals Syntactic Methods for Text Classification*.
    """

    def __init__(self, vocab_size: int, width: int, outputs: int, *, bias: bool) -> None:
        super().__init__(vocab_size, width)
        self.hidden = nn.Linear(width, width, bias=bias)
        self.head = nn.Linear(width, outputs, bias=bias)

    def from_embedding(self, tokens: Tensor, padding: Tensor) -> Tensor:
        """Return outputs for embedded tokens ``(N, T, width)``; ``padding`` ``(N, T)`` is True where there is none."""
        real = ~padding[..., None]
        mean = torch.where(real, tokens, 0.0).sum(1) / real.sum(1).clamp(min=1)
        outputs: Tensor = self.head(torch.relu(self.hidden(mean)))
        return outputs


class Score(nn.Module):
    """One number per text: what is explained.

    Args:
        model: With two outputs, where it is positive − negative, or one, the rating.
    """

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """Return scores ``(N,)`` for ids ``(N, T)``."""
        outputs: Tensor = self.model(ids)
        return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]


def network(
    architecture: str, vocab_size: int, outputs: int, settings: Settings, *, x: bool, seed: int
) -> TextClassifier:
    """Return a fresh network; the weights depend on the seed alone.

    Args:
        architecture: One of :data:`ARCHITECTURES`.
        vocab_size: Ids.
        outputs: 2 for classes, 1 for the rating.
        settings: Sizes.
        x: Whether it is to be of degree 1, or the regular twin.
        seed: Of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _built(architecture, vocab_size, outputs, settings, x=x)
        # A tenth of PyTorch's: words are learnt from a few texts each, and would keep what they were drawn as.
        with torch.no_grad():
            model.embedding.weight.mul_(0.1)
    return model


def _built(architecture: str, vocab_size: int, outputs: int, settings: Settings, *, x: bool) -> TextClassifier:
    width = settings.width
    if architecture == "bag":
        return BagOfEmbeddings(vocab_size, width, outputs, bias=not x)
    if architecture == "cnn":
        build_cnn = models.xtext_cnn if x else models.text_cnn
        return build_cnn(vocab_size, num_classes=outputs, d_model=width, filters=settings.filters)
    build = models.xtext_transformer if x else models.text_transformer
    return build(
        vocab_size,
        num_classes=outputs,
        d_model=width,
        num_layers=settings.layers,
        dim_feedforward=2 * width,
        max_length=settings.max_length + 1,  # a token more on decoys
    )
