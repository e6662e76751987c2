"""Fixup-ResNets and X-Fixup-ResNets: residual networks that train without normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from captum_xg._core.options import switch
from captum_xg.models.building import checked_sizes
from captum_xg.models.fixup_block import FixupBlock

BASIC, BOTTLENECK = (3, 3), (1, 3, 1)
"""Side lengths of a block's convolutions; the last of three puts out four times the channels of the others."""


class FixupResNet(nn.Module):
    """A ResNet of Fixup blocks; with ``bias=False`` nothing in it adds a constant, and F(αx) = αF(x) for α ≥ 0.

        ``F(x) = fc(mean(layer_n(… layer_1(pool(relu(conv1(x) + bias1))))) + bias2)``

    where mean is over pixels, and bias1, bias2 and the bias of fc exist only with ``bias=True``. Initialisation: the
    blocks as in :class:`~captum_xg.models.fixup_block.FixupBlock`, fc zero, so the network starts as F = 0; ``conv1``
    as PyTorch draws it, which is what Zhang et al.'s own code does.

    Args:
        kernels: Side lengths of the convolutions of each block: (3, 3) or (1, 3, 1).
        blocks: Number of blocks in each stage; every stage but the first halves the image.
        bias: Whether there are biases and scales.
        widths: Channels of each stage; four times as many come out of it if ``kernels`` are three.
        num_classes: Numbers in the output.
        in_channels: Channels of the images.
        large_images: Whether the stem is a 7×7 convolution of stride 2 with max pooling, else a 3×3 convolution of
            stride 2.

    Source: Zhang, Dauphin and Ma 2019, *Fixup Initialization: Residual Learning without Normalization* (ICLR);
    Hesse et al. 2021, Section 4.1.
    """

    bias1: nn.Parameter | None
    bias2: nn.Parameter | None

    def __init__(
        self,
        kernels: Sequence[int],
        blocks: Sequence[int],
        *,
        bias: bool,
        widths: Sequence[int] = (64, 128, 256, 512),
        num_classes: int = 1000,
        in_channels: int = 3,
        large_images: bool = True,
    ) -> None:
        super().__init__()
        where = "FixupResNet"
        num_classes, in_channels = checked_sizes(num_classes, in_channels, where)
        bias, large_images = switch(bias, "bias", where), switch(large_images, "large_images", where)
        size = 7 if large_images else 3
        self.conv1 = nn.Conv2d(in_channels, widths[0], size, stride=2, padding=size // 2, bias=False)
        self.register_parameter("bias1", nn.Parameter(torch.zeros(1)) if bias else None)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if large_images else nn.Identity()
        self.stages = [f"layer{i}" for i in range(1, len(blocks) + 1)]
        inputs = widths[0]
        for i, (stage, count, width) in enumerate(zip(self.stages, blocks, widths, strict=True)):
            channels = [width] * len(kernels)
            channels[-1] *= 4 if len(kernels) == 3 else 1
            layer = nn.Sequential()
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                layer.append(FixupBlock(inputs, kernels, channels, stride=stride, branches=sum(blocks), bias=bias))
                inputs = channels[-1]
            self.add_module(stage, layer)
        self.register_parameter("bias2", nn.Parameter(torch.zeros(1)) if bias else None)
        self.fc = nn.Linear(inputs, num_classes, bias=bias)
        for parameter in self.fc.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` for images ``(N, in_channels, H, W)``."""
        x = self.conv1(x)
        x = self.maxpool(torch.relu(x if self.bias1 is None else x + self.bias1))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        x = torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)
        logits: Tensor = self.fc(x if self.bias2 is None else x + self.bias2)
        return logits


def fixup_resnet18(*, num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Return Fixup-ResNet-18 with biases; arguments as for :func:`fixup_resnet50`."""
    return FixupResNet(BASIC, (2, 2, 2, 2), bias=True, num_classes=num_classes, in_channels=in_channels)


def fixup_resnet34(*, num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Return Fixup-ResNet-34 with biases; arguments as for :func:`fixup_resnet50`."""
    return FixupResNet(BASIC, (3, 4, 6, 3), bias=True, num_classes=num_classes, in_channels=in_channels)


def fixup_resnet50(*, num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Return Fixup-ResNet-50 with biases, with the parameter names and shapes of the released checkpoint.

    Args:
        num_classes: Numbers in the output.
        in_channels: Channels of the images.

    Returns:
        A network from ``(N, in_channels, H, W)`` to logits ``(N, num_classes)``, zero at initialisation.

    Source: Zhang, Dauphin and Ma 2019 (ICLR); Hesse et al. 2021, Section 4.1.
    """
    return FixupResNet(BOTTLENECK, (3, 4, 6, 3), bias=True, num_classes=num_classes, in_channels=in_channels)


def fixup_resnet101(*, num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Return Fixup-ResNet-101 with biases; arguments as for :func:`fixup_resnet50`."""
    return FixupResNet(BOTTLENECK, (3, 4, 23, 3), bias=True, num_classes=num_classes, in_channels=in_channels)


def fixup_resnet152(*, num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Return Fixup-ResNet-152 with biases; arguments as for :func:`fixup_resnet50`."""
    return FixupResNet(BOTTLENECK, (3, 8, 36, 3), bias=True, num_classes=num_classes, in_channels=in_channels)


def xfixup_resnet18(*, num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Return X-Fixup-ResNet-18, without biases; arguments as for :func:`xfixup_resnet50`."""
    return FixupResNet(BASIC, (2, 2, 2, 2), bias=False, num_classes=num_classes, in_channels=in_channels)


def xfixup_resnet34(*, num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Return X-Fixup-ResNet-34, without biases; arguments as for :func:`xfixup_resnet50`."""
    return FixupResNet(BASIC, (3, 4, 6, 3), bias=False, num_classes=num_classes, in_channels=in_channels)


def xfixup_resnet50(*, num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Return X-Fixup-ResNet-50: :func:`fixup_resnet50` without biases and scales, so F(αx) = αF(x) for α ≥ 0.

    Arguments as for :func:`fixup_resnet50`. Source: Hesse et al. 2021, Section 4.1.
    """
    return FixupResNet(BOTTLENECK, (3, 4, 6, 3), bias=False, num_classes=num_classes, in_channels=in_channels)


def xfixup_resnet101(*, num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Return X-Fixup-ResNet-101, without biases; arguments as for :func:`xfixup_resnet50`."""
    return FixupResNet(BOTTLENECK, (3, 4, 23, 3), bias=False, num_classes=num_classes, in_channels=in_channels)


def xfixup_resnet152(*, num_classes: int = 1000, in_channels: int = 3) -> FixupResNet:
    """Return X-Fixup-ResNet-152, without biases; arguments as for :func:`xfixup_resnet50`."""
    return FixupResNet(BOTTLENECK, (3, 8, 36, 3), bias=False, num_classes=num_classes, in_channels=in_channels)
