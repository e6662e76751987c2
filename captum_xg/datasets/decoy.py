"""Decoys: a patch in a corner of each image, whose grey value gives the label away or means nothing."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from captum_xg._core.options import switch
from captum_xg._core.text import displayed
from captum_xg.errors import InputError, OptionError, OptionTypeError

PATCH = 4
"""Width and height of a decoy, in pixels."""

CLASSES = 10
"""So many shades of grey there are, one for each class."""


@displayed
class Decoyed(NamedTuple):
    """Images with decoys.

    Attributes:
        images: Shape ``(N, 1, H, W)``, in [0, 1].
        patch: Where the decoys are, shape ``(N, 1, H, W)``, bool; 16 pixels in each image.
        shades: Of which class each decoy has the grey value, shape ``(N,)``, int64.
    """

    images: Tensor
    patch: Tensor
    shades: Tensor


def grey_of(shades: Tensor) -> Tensor:
    r"""Return the grey value of each shade, in [0, 1].

    .. math:: g(k) = (255 - 25\,k) / 255

    From white (class 0) to 30/255 (class 9): never black, so that a decoy never equals the zero baseline.
    """
    return (255 - 25 * shades).to(torch.float32) / 255


def add_decoys(images: Tensor, labels: Tensor, *, informative: bool, generator: torch.Generator) -> Decoyed:
    """Paint a 4×4 patch into a corner of each image.

    The corner is one of the four, each as likely, and independent of everything. The grey value is g(label) if
    ``informative``, which a network can read the label from, else g(k) of a class k drawn uniformly, independently of
    the label. Training images of the source are of the first kind, its test images of the second.

    Args:
        images: Shape ``(N, 1, H, W)`` with H and W of at least 8, in [0, 1]; not changed.
        labels: Shape ``(N,)``, integers from 0 to 9.
        informative: Whether the decoy is a function of the label.
        generator: On the CPU; where the randomness comes from. Equal generators draw equal corners, whether
            informative or not.

    Raises:
        InputError: If the images or labels have another shape, or a label is not from 0 to 9.
        OptionTypeError: If an argument is of the wrong type.
        OptionError: If the generator is not on the CPU, where draws are the same on all machines.

    Source: Ross, Hughes and Doshi-Velez 2017, *Right for the Right Reasons*, Section 4.2 (Decoy MNIST), and the code
    published with it, which fixes what the text leaves open: corners are uniform, at test too, and test shades are
    those of a uniformly drawn class.
    """
    kinds = (("images", images, Tensor), ("labels", labels, Tensor), ("generator", generator, Generator))
    for name, value, kind in kinds:
        if not isinstance(value, kind):
            raise OptionTypeError(
                f"add_decoys: `{name}` must be a torch.{kind.__name__}, but is {type(value).__name__}."
            )
    informative = switch(informative, "informative", "add_decoys")
    if images.dim() != 4 or images.shape[1] != 1 or min(images.shape[2:]) < 2 * PATCH:
        raise InputError(
            f"add_decoys: `images` must have shape (N, 1, H, W) with H and W of at least {2 * PATCH}, so that "
            f"the corners do not overlap, but has {tuple(images.shape)}."
        )
    if labels.shape != images.shape[:1] or labels.dtype.is_floating_point:
        raise InputError(
            f"add_decoys: `labels` must be integers of shape ({len(images)},), but is {labels.dtype} of shape "
            f"{tuple(labels.shape)}."
        )
    if len(labels) and not bool(((labels >= 0) & (labels < CLASSES)).all()):
        raise InputError(
            f"add_decoys: `labels` must be from 0 to {CLASSES - 1}, as there are {CLASSES} shades, but are "
            f"{int(labels.min())} to {int(labels.max())}."
        )
    if generator.device.type != "cpu":
        raise OptionError(f"add_decoys: `generator` must be on the CPU, but is on {generator.device}.")
    n, device = len(images), images.device
    bottom, right = torch.randint(0, 2, (2, n), generator=generator).bool().to(device)
    random = torch.randint(0, CLASSES, (n,), generator=generator).to(device)
    shades = labels.to(torch.int64) if informative else random
    patch = _edge(images.shape[2], bottom)[:, None, :, None] & _edge(images.shape[3], right)[:, None, None, :]
    grey = grey_of(shades).to(images.dtype)[:, None, None, None]
    return Decoyed(torch.where(patch, grey, images), patch, shades)


def _edge(size: int, far: Tensor) -> Tensor:
    """Return which of ``size`` places belong to the near or the far end, shape ``(N, size)``."""
    places = torch.arange(size, device=far.device)
    return torch.where(far[:, None], places >= size - PATCH, places < PATCH)
