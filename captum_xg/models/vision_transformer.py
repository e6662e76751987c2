"""Small vision transformers: ``xvit_small`` of degree 1, and ``vit_small``, its regular twin."""

from __future__ import annotations

from torch import Tensor, nn

from captum_xg._core.options import positive_integer, switch
from captum_xg.errors import OptionError
from captum_xg.models.building import checked_dropout, checked_sizes
from captum_xg.models.small_weights import load_small
from captum_xg.models.transformer_parts import homogeneous_encoder, positions_of, regular_encoder

_D, _HEADS, _FEED_FORWARD, _LAYERS = 64, 4, 128, 4


class VisionTransformer(nn.Module):
    r"""A transformer over the patches of an image, and a linear layer on the mean of its tokens.

    .. math:: F(x) = W \, \tfrac{1}{T} \sum_t \operatorname{encoder}(\operatorname{positions}(E x))_t

    There is no class token, which would be a constant. With parts of degree 1 and no biases F(αx) = αF(x).

    Args:
        positions: Tells the tokens where they are.
        encoder: From tokens ``(N, T, d)`` to tokens.
        width: d.
        in_channels: Channels of the images.
        num_classes: Numbers in the output.
        patch_size: Side of a patch in pixels.
        bias: Whether the embedding of patches and the last layer have biases.

    Source: Dosovitskiy et al. 2021, *An Image is Worth 16x16 Words*; Beyer et al. 2022, *Better plain ViT baselines*
        (the mean in place of a class token).
    """

    def __init__(
        self,
        positions: nn.Module,
        encoder: nn.Module,
        *,
        width: int,
        in_channels: int,
        num_classes: int,
        patch_size: int,
        bias: bool,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(in_channels, width, patch_size, stride=patch_size, bias=bias)
        self.positions = positions
        self.encoder = encoder
        self.head = nn.Linear(width, num_classes, bias=bias)
        nn.init.normal_(self.patches.weight, std=(in_channels * patch_size**2) ** -0.5)
        nn.init.normal_(self.head.weight, std=width**-0.5)
        for constant in (self.patches.bias, self.head.bias):
            if constant is not None:
                nn.init.zeros_(constant)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, num_classes)`` for images ``(N, in_channels, H, W)``."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        logits: Tensor = self.head(self.encoder(self.positions(tokens)).mean(1))
        return logits


def xvit_small(
    *,
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 28,
    patch_size: int = 4,
    dropout: float = 0.1,
    pretrained: bool = False,
) -> VisionTransformer:
    """Return a vision transformer with F(αx) = αF(x) for α ≥ 0, with 136 thousand parameters.

    It has 4 layers of width 64 with 4 heads, as :func:`vit_small` has, of the blocks of :mod:`captum_xg.nn`: norms that
    keep the scale, attention by cosines, ReLU, positions as factors, no biases.

    Args:
        num_classes: Numbers in the output.
        in_channels: Channels of the images.
        image_size: The largest side of the images in pixels; smaller ones, and rectangular ones of as many patches,
            are taken, too, if both sides are multiples of ``patch_size``.
        patch_size: Side of a patch in pixels; ``image_size`` must be a multiple of it.
        dropout: Probability of dropout in the layers, in training mode.
        pretrained: Whether to return it with the shipped weights for Fashion-MNIST (ten classes, images of 28×28 in
            [0, 1]), in evaluation mode; else with random ones.

    Returns:
        A network from ``(N, in_channels, H, W)`` to logits ``(N, num_classes)``.

    Raises:
        OptionError: For sizes that do not fit.
        CheckpointError: If ``pretrained`` and the sizes are not those of the shipped weights.

    Source: Own construction, after Dosovitskiy et al. 2021; the blocks: see there.
    """
    model = _vit("xvit_small", num_classes, in_channels, image_size, patch_size, dropout, regular=False)
    return load_small(model, "xvit_small") if switch(pretrained, "pretrained", "xvit_small") else model


def vit_small(
    *,
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 28,
    patch_size: int = 4,
    dropout: float = 0.1,
    pretrained: bool = False,
) -> VisionTransformer:
    """Return the regular twin of :func:`xvit_small`: LayerNorm, scaled dot products, GELU, added positions, biases.

    Arguments as for :func:`xvit_small`. Source: after Dosovitskiy et al. 2021.
    """
    model = _vit("vit_small", num_classes, in_channels, image_size, patch_size, dropout, regular=True)
    return load_small(model, "vit_small") if switch(pretrained, "pretrained", "vit_small") else model


def _vit(
    where: str,
    num_classes: object,
    in_channels: object,
    image_size: object,
    patch_size: object,
    dropout: object,
    *,
    regular: bool,
) -> VisionTransformer:
    classes, channels = checked_sizes(num_classes, in_channels, where)
    side, patch = positive_integer(image_size, "image_size", where), positive_integer(patch_size, "patch_size", where)
    if side % patch:
        raise OptionError(f"{where}: `image_size` = {side} must be a multiple of `patch_size` = {patch}.")
    build = regular_encoder if regular else homogeneous_encoder
    encoder = build(_D, _HEADS, _FEED_FORWARD, checked_dropout(dropout, where), _LAYERS)
    return VisionTransformer(
        positions_of((side // patch) ** 2, _D, added=regular),
        encoder,
        width=_D,
        in_channels=channels,
        num_classes=classes,
        patch_size=patch,
        bias=regular,
    )
