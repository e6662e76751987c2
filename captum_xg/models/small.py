"""Small members of the three families, for images of 28×28 or 32×32 pixels and training on a CPU."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from captum_xg._core.options import switch
from captum_xg.models.building import checked_dropout, checked_sizes, without_biases
from captum_xg.models.fixup_resnet import BASIC, FixupResNet
from captum_xg.models.small_weights import load_small


def small_alexnet(
    *, num_classes: int = 10, in_channels: int = 1, dropout: float = 0.2, pretrained: bool = False
) -> nn.Module:
    """Return an AlexNet of 73 thousand parameters: five convolutions, overlapping max pooling, three linear layers.

    Args:
        num_classes: Numbers in the output.
        in_channels: Channels of the images.
        dropout: Probability that a unit before the first two linear layers is dropped in training mode.
        pretrained: Whether to return it with the shipped weights for Fashion-MNIST (ten classes, images in [0, 1]), in
            evaluation mode; else with random ones (He et al. 2015; biases zero).

    Returns:
        A network from ``(N, in_channels, H, W)``, H and W at least 15, to logits ``(N, num_classes)``.

    Raises:
        CheckpointError: If ``pretrained`` and ``num_classes`` or ``in_channels`` are not those of the shipped weights.

    Source: after Krizhevsky 2014; Hesse et al. 2021, Section 4.1.
    """
    model = _small_alexnet("small_alexnet", num_classes, in_channels, dropout)
    return _with_weights(model, "small_alexnet", pretrained)


def xsmall_alexnet(
    *, num_classes: int = 10, in_channels: int = 1, dropout: float = 0.2, pretrained: bool = False
) -> nn.Module:
    """Return :func:`small_alexnet` without biases, so that F(αx) = αF(x) for α ≥ 0; same arguments."""
    model = without_biases(_small_alexnet("xsmall_alexnet", num_classes, in_channels, dropout))
    return _with_weights(model, "xsmall_alexnet", pretrained)


def small_vgg(
    *, num_classes: int = 10, in_channels: int = 1, dropout: float = 0.2, pretrained: bool = False
) -> nn.Module:
    """Return a VGG of 67 thousand parameters: three pairs of 3×3 convolutions with max pooling, two linear layers.

    Arguments as for :func:`small_alexnet`, but for dropout, which is before the last linear layer alone; H and W are at
    least 8. Source: after Simonyan and Zisserman 2015; Hesse et al. 2021, Section 4.1.
    """
    model = _small_vgg("small_vgg", num_classes, in_channels, dropout)
    return _with_weights(model, "small_vgg", pretrained)


def xsmall_vgg(
    *, num_classes: int = 10, in_channels: int = 1, dropout: float = 0.2, pretrained: bool = False
) -> nn.Module:
    """Return :func:`small_vgg` without biases, so that F(αx) = αF(x) for α ≥ 0; same arguments."""
    model = without_biases(_small_vgg("xsmall_vgg", num_classes, in_channels, dropout))
    return _with_weights(model, "xsmall_vgg", pretrained)


def small_fixup_resnet(*, num_classes: int = 10, in_channels: int = 1, pretrained: bool = False) -> nn.Module:
    """Return a Fixup-ResNet of 98 thousand parameters: three stages of two basic blocks with 12, 24, 48 channels.

    Arguments as for :func:`small_alexnet`, for images of any size. Without the shipped weights it is as Fixup
    initialises it, zero for every input. Source: after Zhang, Dauphin and Ma 2019; Hesse et al. 2021, Section 4.1.
    """
    model = _small_fixup_resnet("small_fixup_resnet", num_classes, in_channels, bias=True)
    return _with_weights(model, "small_fixup_resnet", pretrained)


def xsmall_fixup_resnet(*, num_classes: int = 10, in_channels: int = 1, pretrained: bool = False) -> nn.Module:
    """Return :func:`small_fixup_resnet` without biases and scales, so that F(αx) = αF(x) for α ≥ 0; same arguments."""
    model = _small_fixup_resnet("xsmall_fixup_resnet", num_classes, in_channels, bias=False)
    return _with_weights(model, "xsmall_fixup_resnet", pretrained)


def _with_weights(model: nn.Module, name: str, pretrained: bool) -> nn.Module:
    """Return the model with the shipped weights of that name if asked for."""
    return load_small(model, name) if switch(pretrained, "pretrained", name) else model


def _small_alexnet(where: str, num_classes: int, in_channels: int, dropout: float) -> nn.Module:
    num_classes, in_channels = checked_sizes(num_classes, in_channels, where)
    dropout = checked_dropout(dropout, where)
    features: list[nn.Module] = []
    inputs = in_channels
    for width, kernel, pooled in ((16, 5, True), (32, 5, True), (48, 3, False), (32, 3, False), (32, 3, True)):
        features += [nn.Conv2d(inputs, width, kernel, padding=kernel // 2), nn.ReLU()]
        features += [nn.MaxPool2d(3, stride=2)] if pooled else []
        inputs = width
    classifier = [
        nn.Dropout(dropout),
        nn.Linear(inputs * 2 * 2, 96),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(96, 96),
        nn.ReLU(),
        nn.Linear(96, num_classes),
    ]
    return _network(features, 2, classifier)


def _small_vgg(where: str, num_classes: int, in_channels: int, dropout: float) -> nn.Module:
    num_classes, in_channels = checked_sizes(num_classes, in_channels, where)
    dropout = checked_dropout(dropout, where)
    features: list[nn.Module] = []
    inputs = in_channels
    for width in (8, 24, 48):
        for _ in range(2):
            features += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        features.append(nn.MaxPool2d(2))
    classifier = [nn.Linear(inputs * 3 * 3, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, num_classes)]
    return _network(features, 3, classifier)


def _small_fixup_resnet(where: str, num_classes: int, in_channels: int, *, bias: bool) -> nn.Module:
    num_classes, in_channels = checked_sizes(num_classes, in_channels, where)
    return FixupResNet(
        BASIC,
        (2, 2, 2),
        bias=bias,
        widths=(12, 24, 48),
        num_classes=num_classes,
        in_channels=in_channels,
        large_images=False,
    )


def _network(features: list[nn.Module], side: int, classifier: list[nn.Module]) -> nn.Module:
    """Return the layers in one network, with side × side pixels going into the classifier."""
    model = nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*features),
            avgpool=nn.AdaptiveAvgPool2d(side),
            flatten=nn.Flatten(),
            classifier=nn.Sequential(*classifier),
        )
    )
    # Without normalisation or biases nothing but the scale of the weights keeps the signal from dying out.
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model
