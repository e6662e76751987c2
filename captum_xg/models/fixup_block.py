"""The residual block of Fixup, with biases or without."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FixupBlock(nn.Module):
    """A residual block without normalisation: ``relu(branch(x) + shortcut(x))``.

    The branch is m convolutions with ReLU between them. With ``bias=True`` a scalar is added before and after each
    convolution and a scalar ``scale`` multiplies the last one's output:

        ``branch(x) = scale · W_m(… relu(W_1(x + bias1a) + bias1b) … + bias_ma) + bias_mb``

    With ``bias=False`` neither biases nor ``scale`` exist, and ``branch(x) = W_m(… relu(W_1 x) …)``.
    A shortcut that changes shape is a 1×1 convolution of ``x + bias1a``.

    Initialisation (Fixup): ``W_m = 0``, so the block starts as ``relu(shortcut(x))``. The others are drawn as by He
    et al. 2015, ``std = √(2 / fan_out)``, those of the branch times ``L^(−1/(2m−2))``, with L the number of residual
    branches of the whole network.

    Args:
        inputs: Channels that come in.
        kernels: Side lengths of the m convolutions.
        channels: Channels that each of them puts out.
        stride: Stride of the first 3×3 convolution and of the shortcut.
        branches: L.
        bias: Whether there are biases and a scale.

    Source: Zhang, Dauphin and Ma 2019, *Fixup Initialization: Residual Learning without Normalization* (ICLR), box
    "Fixup initialization"; without biases: Hesse et al. 2021, Section 4.1.
    """

    bias1a: nn.Parameter | None
    scale: nn.Parameter | None

    def __init__(
        self,
        inputs: int,
        kernels: Sequence[int],
        channels: Sequence[int],
        *,
        stride: int,
        branches: int,
        bias: bool,
    ) -> None:
        super().__init__()
        self.m = len(kernels)
        strided = kernels.index(3)
        widths = [inputs, *channels]
        for i, kernel in enumerate(kernels):
            conv = _conv(widths[i], widths[i + 1], kernel, stride if i == strided else 1)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            with torch.no_grad():
                conv.weight *= 0 if i == self.m - 1 else branches ** (-1 / (2 * self.m - 2))
            self.register_parameter(f"bias{i + 1}a", nn.Parameter(torch.zeros(1)) if bias else None)
            self.add_module(f"conv{i + 1}", conv)
            self.register_parameter(f"bias{i + 1}b", nn.Parameter(torch.zeros(1)) if bias else None)
        self.register_parameter("scale", nn.Parameter(torch.ones(1)) if bias else None)
        self.downsample: nn.Conv2d | None = None
        if stride != 1 or inputs != channels[-1]:
            shortcut = _conv(inputs, channels[-1], 1, stride)
            nn.init.kaiming_normal_(shortcut.weight, mode="fan_out", nonlinearity="relu")
            self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return ``relu(branch(x) + shortcut(x))``."""
        return torch.relu(self.branch(x) + self.shortcut(x))

    def branch(self, x: Tensor) -> Tensor:
        """Return the residual branch's value, zero at initialisation."""
        for i in range(1, self.m + 1):
            x = self.get_submodule(f"conv{i}")(_plus(x, getattr(self, f"bias{i}a")))
            if i < self.m:
                x = torch.relu(_plus(x, getattr(self, f"bias{i}b")))
        x = x if self.scale is None else x * self.scale
        return _plus(x, getattr(self, f"bias{self.m}b"))

    def shortcut(self, x: Tensor) -> Tensor:
        """Return ``x``, brought to the branch's shape where that differs."""
        return x if self.downsample is None else self.downsample(_plus(x, self.bias1a))


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


def _plus(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias
