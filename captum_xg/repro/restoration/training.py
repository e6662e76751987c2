"""One training: patches of photographs, noise of a random strength, mean squared error."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captum_xg.datasets.photographs import TRAINING, photograph
from captum_xg.repro.restoration.protocol import GREY, MOST, Protocol, network


def train(family: str, seed: int, protocol: Protocol, device: torch.device, *, bias: bool) -> nn.Module:
    """Return a trained network in evaluation mode, its weights rounded to half precision, as they are kept.

    The seed is that of the initial weights, which twins share, of the patches and of the noise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network(family, bias=bias).to(device)
    generator, turns = torch.Generator(device).manual_seed(seed), torch.Generator().manual_seed(seed)
    patches = training_patches(protocol).to(device)
    optimizer = torch.optim.Adam(model.parameters(), protocol.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, protocol.learning_rate, total_steps=max(protocol.steps, 2), cycle_momentum=False
    )
    for _ in range(protocol.steps):
        clean, noisy = _batch(patches, protocol.batch, generator, turns)
        loss = F.mse_loss(model(noisy), clean)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return model.half().float().eval().requires_grad_(requires_grad=False)


def training_patches(protocol: Protocol) -> Tensor:
    """Return patches of all training photographs, ``(N, 1, patch, patch)``."""
    size, stride = protocol.patch, protocol.stride
    return torch.cat(
        [
            photograph(name).unfold(0, size, stride).unfold(1, size, stride).reshape(-1, 1, size, size)
            for name in TRAINING
        ]
    )


def _batch(patches: Tensor, size: int, generator: torch.Generator, turns: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return random patches, turned over in one of eight ways, and the same with noise."""
    device = patches.device
    clean = patches[torch.randint(len(patches), (size,), generator=generator, device=device)]
    # One way for the whole batch, drawn on the CPU: a branch on a number of an accelerator would wait for it.
    down, across, transposed = (torch.rand(3, generator=turns) < 0.5).tolist()
    clean = clean.flip([2] * down + [3] * across)
    clean = clean.transpose(2, 3) if transposed else clean
    level = torch.rand(size, 1, 1, 1, generator=generator, device=device) * MOST / GREY
    return clean, clean + level * torch.randn(clean.shape, generator=generator, device=device)
