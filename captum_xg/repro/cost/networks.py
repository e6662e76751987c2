"""What is trained for a few steps: a Fixup-ResNet and its X-DNN with random weights, on random images.

Neither weights nor pixels change what a step costs, as long as no number is zero throughout: as Fixup initialises it,
the network is zero for every input, and there would be nothing to attribute.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captum_xg import models

NAMES = {"small": "small_fixup_resnet", "paper": "fixup_resnet50"}


@dataclass(frozen=True)
class Setting:
    """What numbers are about.

    Attributes:
        models: ``"small"`` or ``"paper"``.
        image_size: Side of the images, in pixels.
        batch_size: Examples in a step.
        references: Of Expected Gradients, per example.
        device: Where it runs.
        dtype: Of weights and images.
    """

    models: str
    image_size: int
    batch_size: int
    references: int
    device: torch.device
    dtype: torch.dtype = torch.float32

    @property
    def is_the_papers(self) -> bool:
        """Whether it is Fixup-ResNet-50 at 224 pixels, 2 images, 32 references, on a GPU."""
        numbers = (self.image_size, self.batch_size, self.references)
        return self.models == "paper" and numbers == (224, 2, 32) and self.device.type == "cuda"

    def network(self, *, bias: bool) -> nn.Module:
        """Return the network, or its X-DNN, in training mode."""
        name = f"{'' if bias else 'x'}{NAMES[self.models]}"
        model: nn.Module = getattr(models, name)()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    drawn = torch.randn(parameter.shape, generator=generator)
                    parameter.copy_(drawn / parameter[0].numel() ** 0.5)
                else:
                    parameter.fill_(1.0 if "scale" in key else 0.01)
        return model.to(self.device, self.dtype)

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return images, their classes, and as many references for each in a row."""
        channels, classes = (1, 10) if self.models == "small" else (3, 1000)
        generator = torch.Generator().manual_seed(1)
        n, side = self.batch_size, self.image_size
        images = torch.rand(n, channels, side, side, generator=generator)
        references = torch.rand(n * self.references, channels, side, side, generator=generator)
        labels = torch.randint(classes, (n,), generator=generator)
        return images.to(self.device, self.dtype), labels.to(self.device), references.to(self.device, self.dtype)
