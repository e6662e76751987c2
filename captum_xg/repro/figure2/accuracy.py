"""Accuracy over contrast: what a network says of every image multiplied by α.

The invariant: F(αx) = αF(x) leaves the largest logit the largest. Multiplied by a power of two nothing is rounded
differently, so an X-DNN says the same to the last bit; by another factor two logits that are equal up to rounding may
change places, so beside what is said stands how far the largest logit is ahead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg._core.estimate import Estimate
from captum_xg.repro.means import mean_over_examples
from captum_xg.repro.units import Unit

POWERS = tuple(2.0**-k for k in range(11))
"""Contrasts from 1 to 2⁻¹⁰, where multiplying rounds nothing."""
LINEAR = (0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1)
CONTRASTS = tuple(sorted((*POWERS, *LINEAR), reverse=True))
TIED = 1e-5
"""Two logits are tied if they differ by less than this share of the largest absolute logit."""


@torch.no_grad()
def predictions(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return what a network says of images at every contrast, and how sure it is at full contrast.

    Returns:
        ``classes``: contrast → class of each image; ``labels``; ``lead``: by how much the largest logit of each image
        is ahead of the second, as a share of the largest absolute one.
    """
    logits = model(images)
    first, second = logits.topk(2, dim=1).values.unbind(1)
    scale = logits.abs().amax(1).clamp_min(torch.finfo(logits.dtype).tiny)
    return {
        "labels": labels.tolist(),
        "lead": ((first - second) / scale).tolist(),
        "classes": {str(alpha): model(alpha * images).argmax(1).tolist() for alpha in CONTRASTS},
    }


@dataclass(frozen=True)
class Accuracy:
    """What a network says of all images.

    Attributes:
        labels: The class of each image.
        lead: See :func:`predictions`.
        classes: Contrast → what it says of each image.
    """

    labels: Sequence[int]
    lead: Sequence[float]
    classes: Mapping[float, Sequence[int]]

    @classmethod
    def of(cls, units: Sequence[Unit]) -> Accuracy:
        """Return what several units came to together."""
        values = [unit.value for unit in units]
        return cls(
            [label for each in values for label in each["labels"]],
            [lead for each in values for lead in each["lead"]],
            {alpha: [c for each in values for c in each["classes"][str(alpha)]] for alpha in CONTRASTS},
        )

    def percent(self, contrast: float) -> Estimate:
        """Return the top-1 accuracy in percent."""
        return mean_over_examples(self._right(contrast))

    def drop(self, contrast: float) -> Estimate:
        """Return by how many percentage points the accuracy is lower than at full contrast, paired."""
        return mean_over_examples(self._right(1.0) - self._right(contrast))

    def changed(self, contrast: float) -> list[int]:
        """Return the images of which the network says something else than at full contrast."""
        pairs = zip(self.classes[1.0], self.classes[contrast], strict=True)
        return [i for i, (before, now) in enumerate(pairs) if before != now]

    def changed_untied(self, contrast: float) -> list[int]:
        """Return those of :meth:`changed` whose two largest logits were not tied."""
        return [i for i in self.changed(contrast) if self.lead[i] > TIED]

    def _right(self, contrast: float) -> Tensor:
        return 100 * (torch.tensor(self.classes[contrast]) == torch.tensor(self.labels)).double()
