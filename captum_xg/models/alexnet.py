"""AlexNet and X-AlexNet."""

from __future__ import annotations

from torch import nn
from torchvision.models import AlexNet

from captum_xg.models.building import checked_dropout, checked_sizes, without_biases


def alexnet(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Return AlexNet with biases, with the parameter names and shapes of the released checkpoint.

    It is torchvision's own class: five convolutions and three linear layers, ReLU, max pooling, dropout.

    Args:
        num_classes: Numbers in the output.
        in_channels: Channels of the images.
        dropout: Probability that a unit before the first two linear layers is dropped in training mode.

    Returns:
        A randomly initialised network from ``(N, in_channels, H, W)``, H and W at least 63, to logits
        ``(N, num_classes)``.

    Source: Krizhevsky 2014, *One weird trick for parallelizing convolutional neural networks*; Hesse et al. 2021,
    Section 4.1.
    """
    return _alexnet("alexnet", num_classes, in_channels, dropout)


def _alexnet(where: str, num_classes: int, in_channels: int, dropout: float) -> nn.Module:
    num_classes, in_channels = checked_sizes(num_classes, in_channels, where)
    dropout = checked_dropout(dropout, where)
    model: nn.Module = AlexNet(num_classes=num_classes, dropout=dropout)
    if in_channels != 3:
        model.get_submodule("features")[0] = nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2)  # type: ignore[operator]
    return model


def xalexnet(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Return X-AlexNet: :func:`alexnet` without biases, so that F(αx) = αF(x) for α ≥ 0 in evaluation mode.

    Arguments as for :func:`alexnet`. Source: Hesse et al. 2021, Section 4.1.
    """
    return without_biases(_alexnet("xalexnet", num_classes, in_channels, dropout))
