"""VGG-11, 13, 16 and 19, and their X-DNNs."""

from __future__ import annotations

from torch import nn
from torchvision import models

from captum_xg.models.building import checked_dropout, checked_sizes, without_biases


def vgg11(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Return VGG-11 with biases; arguments as for :func:`vgg16`."""
    return _vgg("vgg11", num_classes, in_channels, dropout)


def vgg13(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Return VGG-13 with biases; arguments as for :func:`vgg16`."""
    return _vgg("vgg13", num_classes, in_channels, dropout)


def vgg16(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Return VGG-16 with biases, with the parameter names and shapes of the released checkpoint.

    It is torchvision's own class: thirteen 3×3 convolutions and three linear layers, ReLU, max pooling, dropout.

    Args:
        num_classes: Numbers in the output.
        in_channels: Channels of the images.
        dropout: Probability that a unit after the first two linear layers is dropped in training mode.

    Returns:
        A randomly initialised network from ``(N, in_channels, H, W)``, H and W at least 32, to logits
        ``(N, num_classes)``.

    Source: Simonyan and Zisserman 2015, *Very Deep Convolutional Networks for Large-Scale Image Recognition*, Table 1
    (configurations A, B, D, E are 11, 13, 16, 19); Hesse et al. 2021, Section 4.1.
    """
    return _vgg("vgg16", num_classes, in_channels, dropout)


def vgg19(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Return VGG-19 with biases; arguments as for :func:`vgg16`."""
    return _vgg("vgg19", num_classes, in_channels, dropout)


def xvgg11(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Return X-VGG-11, without biases; arguments as for :func:`xvgg16`."""
    return without_biases(_vgg("xvgg11", num_classes, in_channels, dropout))


def xvgg13(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Return X-VGG-13, without biases; arguments as for :func:`xvgg16`."""
    return without_biases(_vgg("xvgg13", num_classes, in_channels, dropout))


def xvgg16(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Return X-VGG-16: :func:`vgg16` without biases, so that F(αx) = αF(x) for α ≥ 0 in evaluation mode.

    Arguments as for :func:`vgg16`. Source: Hesse et al. 2021, Section 4.1.
    """
    return without_biases(_vgg("xvgg16", num_classes, in_channels, dropout))


def xvgg19(*, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Return X-VGG-19, without biases; arguments as for :func:`xvgg16`."""
    return without_biases(_vgg("xvgg19", num_classes, in_channels, dropout))


def _vgg(name: str, num_classes: int, in_channels: int, dropout: float) -> nn.Module:
    num_classes, in_channels = checked_sizes(num_classes, in_channels, name)
    dropout = checked_dropout(dropout, name)
    model: nn.Module = models.get_model(name.removeprefix("x"), weights=None, num_classes=num_classes, dropout=dropout)
    if in_channels != 3:
        first = nn.Conv2d(in_channels, 64, kernel_size=3, padding=1)
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(first.bias)  # type: ignore[arg-type]
        model.get_submodule("features")[0] = first  # type: ignore[operator]
    return model
