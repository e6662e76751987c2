"""Small trained network of the usual kind, not homogeneous: batch norms, biases, curved activations, gates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import SqueezeExcitation

from captum_xg._core.files import make_folder, require_writable, write_tensors
from captum_xg.assets import ASSETS
from captum_xg.datasets.fashion_mnist import load_fashion_mnist
from captum_xg.demo.train import accuracy, fit
from captum_xg.models import load_checkpoint

WEIGHTS_FILE = "conventional.pt"


class InvertedResidual(nn.Module):
    """Widen by a 1×1 convolution, look around in each channel by a 3×3 one, weigh the channels, narrow again.

    Args:
        inputs: Channels of the input.
        wide: Channels in between.
        outputs: Channels of the output.
        stride: Of the 3×3 convolution. With stride 1 and as many outputs as inputs, the input is added to the result.
        activation: The class of the two activations.
        squeeze: Channels that the gates are computed from, 0 for no gates.

    Source: Howard et al. 2019, *Searching for MobileNetV3*, Figure 4.
    """

    def __init__(
        self,
        inputs: int,
        wide: int,
        outputs: int,
        *,
        stride: int,
        activation: Callable[[], nn.Module],
        squeeze: int = 0,
    ) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), activation())
        self.spatial = nn.Sequential(
            nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), activation()
        )
        self.gates = SqueezeExcitation(wide, squeeze) if squeeze else nn.Identity()
        self.project = nn.Sequential(nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, of shape ``(N, outputs, H / stride, W / stride)``."""
        y: Tensor = self.project(self.gates(self.spatial(self.expand(x))))
        return x + y if self.residual else y


class ConventionalNet(nn.Module):
    """Four inverted residual blocks in the manner of MobileNetV3, for 28×28 grey images and ten classes.

    What breaks F(αx) = αF(x) in it is what breaks it in most networks: batch norms, Hardswish, SiLU, ReLU6, GELU
    (called as a function), squeeze-and-excitation and the biases of two linear layers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.blocks = nn.Sequential(
            InvertedResidual(8, 24, 20, stride=2, activation=nn.ReLU6),
            InvertedResidual(20, 60, 20, stride=1, activation=nn.SiLU, squeeze=12),
            InvertedResidual(20, 80, 40, stride=2, activation=nn.Hardswish),
            InvertedResidual(40, 120, 40, stride=1, activation=nn.SiLU, squeeze=24),
        )
        self.head = nn.Sequential(nn.Conv2d(40, 96, 1, bias=False), nn.BatchNorm2d(96), nn.Hardswish())
        self.hidden = nn.Linear(96, 64)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, 10)`` for images ``(N, 1, 28, 28)`` in [0, 1]."""
        features = self.head(self.blocks(self.stem(x))).mean((2, 3))
        logits: Tensor = self.classifier(F.gelu(self.hidden(features)))
        return logits


def conventional_model(*, folder: str | Path = ASSETS) -> ConventionalNet:
    """Return an ordinary network, trained on Fashion-MNIST and in evaluation mode: what a conversion starts from.

    Args:
        folder: Where the weight file lies.

    Returns:
        A network from ``(N, 1, 28, 28)`` in [0, 1] to logits ``(N, 10)``, in float32. The shipped weights, which are
        stored in float16, recognise 90.5 % of the 10,000 test images.
    """
    model = ConventionalNet()
    load_checkpoint(model, Path(folder) / WEIGHTS_FILE)
    return model.eval()


def train_conventional(
    data_root: str | Path, destination: str | Path = ASSETS, *, epochs: int = 3, batch_size: int = 128, seed: int = 0
) -> float:
    """Train the network on Fashion-MNIST and write its weights, in float16, to ``conventional.pt``.

    Adam with a one-cycle learning rate (peak 3e-3), the images as they are; the last epoch is kept. With these
    defaults, PyTorch 2.14 and OMP_NUM_THREADS=1 it made the shipped file, in five minutes on one core:
    ``python -c "from captum_xg.demo.conventional import train_conventional; train_conventional('DATA', 'FOLDER')"``

    Args:
        data_root: Where Fashion-MNIST lies or goes; see :func:`captum_xg.datasets.fashion_mnist.load_fashion_mnist`.
        destination: The folder that the weights are written to.
        epochs: Passes over the 60,000 training images.
        batch_size: Images per step.
        seed: Of the initial weights and the order of the images.

    Returns:
        Accuracy on all 10,000 test images of what was written, in [0, 1].
    """
    destination = make_folder(destination)
    require_writable(destination / WEIGHTS_FILE)
    torch.manual_seed(seed)
    model = ConventionalNet().to(memory_format=torch.channels_last)  # 1.6 times as fast on CPUs
    fit(
        model,
        *load_fashion_mnist(data_root, train=True),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        augment=False,  # in so few epochs it costs accuracy
        title="training the conventional network",
    )
    write_tensors(destination / WEIGHTS_FILE, model.half().state_dict())
    return accuracy(conventional_model(folder=destination), *load_fashion_mnist(data_root, train=False))
