"""What is trained and measured: networks, noise, photographs, and the numbers of all of them.

Networks learn from Gaussian noise of a standard deviation σ drawn between 0 and 25 grey levels of 255, a new one for
each patch, and are measured at more noise than that, on photographs that none was trained on. The noise of a
photograph is the same for all networks, so that they are compared in pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from captum_xg import models
from captum_xg._core.contents import bytes_of
from captum_xg.datasets.photographs import TEST, TRAINING, photograph

GREY = 255
"""Noise is given in grey levels of so many."""
MOST = 25
SEEN, UNSEEN = (5, 15, 25), (35, 50, 75, 100)
"""Standard deviations of the noise that networks are measured at: within that of training, and beyond."""
FAMILIES = {"dncnn": "DnCNN", "unet": "U-Net"}
WINDOWS = {"dncnn": 24, "unet": 40}
"""Sides of the squares around a pixel that hold all that it sees: 13 and 31 pixels."""


@dataclass(frozen=True)
class Protocol:
    """What numbers depend on.

    Attributes:
        families: Of networks.
        seeds: Of trainings, of which each network has so many; none for the shipped weights.
        steps: Of a training.
        batch: Patches in a step.
        patch: Side of a patch.
        stride: Distance of patches.
        learning_rate: At its peak.
        crops: Squares of each test photograph, at most.
        side: Of these squares.
        pixels: Whose filters are measured.
    """

    families: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    batch: int = 64
    patch: int = 48
    stride: int = 16
    learning_rate: float = 2e-3
    crops: int = 6
    side: int = 128
    pixels: int = 96

    def settings(self) -> dict[str, object]:
        """Return what the numbers of a unit depend on besides its name."""
        left_out = ("families", "seeds")  # which are in the names
        own = {name: value for name, value in asdict(self).items() if name not in left_out}
        digest = hashlib.sha256(b"".join(bytes_of(photograph(name)) for name in (*TRAINING, *TEST))).hexdigest()
        return {**own, "most": MOST, "levels": [*SEEN, *UNSEEN], "photographs": digest[:16]}


PRESETS: Mapping[str, Protocol] = {
    "quick": Protocol(("dncnn",), (), steps=0, crops=2, side=80, pixels=24),
    "full": Protocol(("dncnn", "unet"), (0, 1, 2), steps=3000),
}


def network(family: str, *, bias: bool) -> nn.Module:
    """Return a fresh network; its weights come from PyTorch's global generator."""
    model: nn.Module = getattr(models, name_of(family, bias=bias))()
    return model


def name_of(family: str, *, bias: bool) -> str:
    """Return the name of a network's builder."""
    return f"{'' if bias else 'x'}{family}_small"


def held_out(protocol: Protocol) -> Tensor:
    """Return squares of the test photographs, ``(N, 1, side, side)``, which do not overlap, spread over each."""
    found = []
    for name in TEST:
        picture, side = photograph(name), protocol.side
        tiles = picture.unfold(0, side, side).unfold(1, side, side).reshape(-1, 1, side, side)
        chosen = torch.linspace(0, len(tiles) - 1, min(protocol.crops, len(tiles))).round().long()
        found.append(tiles[chosen])
    return torch.cat(found)


def with_noise(clean: Tensor, level: float, seed: int = 0) -> Tensor:
    """Return images with Gaussian noise of a standard deviation in grey levels, the same whatever the level is."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return clean + (level / GREY * noise).to(clean)
