"""Small denoisers of images: ``xdncnn_small`` and ``xunet_small`` of degree 1, and regular twins with biases.

All give the image minus what they take for noise. Without biases a denoiser scales with its input, and so works at
noise that it was not trained on; each pixel it gives is a weighted mean of the pixels around, with weights that are the
row of the Jacobian: y_i = Σ_j (∂y_i/∂x_j) x_j, exactly.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg._core.options import integer, positive_integer, switch
from captum_xg.models.building import without_biases
from captum_xg.models.small_weights import load_small

_UNET_WIDTHS = (24, 48, 64)


class DnCNN(nn.Module):
    r"""Convolutions of 3×3 and ReLUs that find the noise in an image, which is then taken away: :math:`x - f(x)`.

    Args:
        channels: Of the images.
        width: Channels of the hidden layers.
        depth: Number of convolutions.

    Source: Zhang et al. 2017, *Beyond a Gaussian Denoiser*, without batch normalisation; without biases: Mohan et al.
        2020, *Robust and Interpretable Blind Image Denoising via Bias-Free Convolutional Neural Networks*.
    """

    def __init__(self, channels: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [channels, *[width] * (depth - 1), channels]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return images without their noise, for images ``(N, channels, H, W)``."""
        found: Tensor = x - self.layers(x)
        return found


class DenoisingUNet(nn.Module):
    r"""Two convolutions at each of three resolutions, down and up again, that find the noise: :math:`x - f(x)`.

    What is at a resolution on the way down is added on the way up. Images whose sides are no multiples of 4 get zeros
    at their lower and right ends, which are cut off again.

    Args:
        channels: Of the images.
        widths: Channels at the resolutions, the finest first.

    Source: Ronneberger et al. 2015, *U-Net*; without biases: Mohan et al. 2020.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.fine = _pair(channels, fine)
        self.down_to_middle = _pair(fine, middle, stride=2)
        self.down_to_coarse = _pair(middle, coarse, stride=2)
        self.up_to_middle = nn.ConvTranspose2d(coarse, middle, 2, stride=2)
        self.middle = nn.Sequential(nn.Conv2d(middle, middle, 3, padding=1), nn.ReLU())
        self.up_to_fine = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.last = nn.Sequential(
            nn.Conv2d(fine, fine, 3, padding=1), nn.ReLU(), nn.Conv2d(fine, channels, 3, padding=1)
        )
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return images without their noise, for images ``(N, channels, H, W)``."""
        height, width = x.shape[-2:]
        fine = self.fine(F.pad(x, (0, -width % 4, 0, -height % 4)))
        middle = self.down_to_middle(fine)
        middle = self.middle(middle + self.up_to_middle(self.down_to_coarse(middle)))
        noise = self.last(fine + self.up_to_fine(middle))
        found: Tensor = x - noise[..., :height, :width]
        return found


def dncnn_small(*, channels: int = 1, width: int = 24, depth: int = 6, pretrained: bool = False) -> DnCNN:
    """Return a denoiser of 21 thousand parameters with biases, the twin of :func:`xdncnn_small`.

    Args:
        channels: Of the images.
        width: Channels of the hidden layers.
        depth: Number of convolutions, at least 2; a pixel of the output sees a square of side
            2·depth + 1.
        pretrained: Whether to return it with the shipped weights, in evaluation mode: for grey images in [0, 1] with
            Gaussian noise of a standard deviation up to 25/255. Else with random ones (He et al. 2015; biases zero).

    Returns:
        A network from noisy images ``(N, channels, H, W)`` to images of that shape.

    Raises:
        OptionError: For sizes that make no network.
        CheckpointError: If ``pretrained``, and the sizes are not those of the shipped weights.

    Source: Zhang et al. 2017, *Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising*.
    """
    return _with_weights(_dncnn("dncnn_small", channels, width, depth), "dncnn_small", pretrained)


def xdncnn_small(*, channels: int = 1, width: int = 24, depth: int = 6, pretrained: bool = False) -> DnCNN:
    """Return :func:`dncnn_small` without biases, so that F(αx) = αF(x) for α ≥ 0; same arguments.

    Source: Mohan et al. 2020, *Robust and Interpretable Blind Image Denoising via Bias-Free CNNs* (ICLR).
    """
    return _with_weights(without_biases(_dncnn("xdncnn_small", channels, width, depth)), "xdncnn_small", pretrained)


def unet_small(*, channels: int = 1) -> DenoisingUNet:
    """Return a U-Net of 145 thousand parameters with biases that denoises images, the twin of :func:`xunet_small`.

    Args:
        channels: Of the images.

    Returns:
        A network from noisy images ``(N, channels, H, W)``, of any size, to images of that shape.

    Source: after Ronneberger et al. 2015, *U-Net*.
    """
    return DenoisingUNet(positive_integer(channels, "channels", "unet_small"), _UNET_WIDTHS)


def xunet_small(*, channels: int = 1) -> DenoisingUNet:
    """Return :func:`unet_small` without biases, so that F(αx) = αF(x) for α ≥ 0. Source: Mohan et al. 2020."""
    return without_biases(DenoisingUNet(positive_integer(channels, "channels", "xunet_small"), _UNET_WIDTHS))


def _dncnn(where: str, channels: object, width: object, depth: object) -> DnCNN:
    return DnCNN(
        positive_integer(channels, "channels", where),
        positive_integer(width, "width", where),
        integer(depth, "depth", where, least=2),
    )


def _with_weights(model: DnCNN, name: str, pretrained: bool) -> DnCNN:
    if switch(pretrained, "pretrained", name):
        load_small(model, name)
    return model


def _pair(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(),
    )


def _initialise(model: nn.Module) -> None:
    """Set weights by He et al. 2015 and biases to zero, so that twins of one seed have the same weights."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
