"""What the tests of the decoy experiment share: made-up images, small settings, a stored training."""

import torch

from captum_xg.repro.decoy.protocol import Settings
from captum_xg.repro.decoy.store import SCORES, Run

SMALL = Settings(train_images=256, validation_images=64, epochs=2, batch_size=32)


def stored(method="xg", weight=1.0, seed=0, **scores):
    return Run(method, weight, seed, {**dict.fromkeys(SCORES, 0.5), **scores})


def made_up(n, seed=0, line=0.35):
    """Return grey noise with a faint line whose row is the label: hard to see beside a decoy."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 10
    images = torch.rand(n, 1, 28, 28, generator=generator) * 0.5
    images[torch.arange(n), 0, 8 + labels, 6:22] += line
    return images, labels
