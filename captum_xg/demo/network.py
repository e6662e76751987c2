"""Convolutional network of the demo, with or without biases."""

from __future__ import annotations

from torch import nn


def fashion_cnn(*, bias: bool) -> nn.Sequential:
    """Return the demo's CNN for 28×28 grey images, an X-DNN exactly if ``bias`` is False.

    Five 3×3 convolutions with ReLU, two max poolings and one linear layer. Without biases every layer f satisfies
    f(αx) = αf(x) for α ≥ 0, and so does their composition.

    Args:
        bias: Whether the convolutions and the linear layer add a bias.

    Returns:
        A network from ``(N, 1, 28, 28)`` to logits ``(N, 10)``.

    Source: Hesse et al. 2021, Propositions 3.8 and 3.9, Corollary 3.10.
    """

    def conv(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), nn.ReLU()]

    return nn.Sequential(
        *conv(1, 16),
        *conv(16, 32),
        nn.MaxPool2d(2),
        *conv(32, 48),
        *conv(48, 48),
        nn.MaxPool2d(2),
        *conv(48, 64),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 10, bias=bias),
    )
