"""The exact integral as a reference: of some images, in float64, or why it could not be had."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor, nn

from captum_xg import ExactIntegratedGradients
from captum_xg._core.text import in_one_line
from captum_xg.attr.exact import NotPiecewiseLinearError, RegionLimitError

MOST_REGIONS = 100_000
"""The most linear regions of one path. The small networks with biases have some 8,000 to 20,000."""


@dataclass(frozen=True)
class Exact:
    """Integrated Gradients without error, or a refusal.

    Attributes:
        attributions: In float64, of the images' shape; None if they were refused.
        regions: Linear pieces of each path.
        refusal: Why there are none; empty if there are.
    """

    attributions: Tensor | None
    regions: tuple[int, ...]
    refusal: str


def in_float64(model: nn.Module) -> nn.Module:
    """Return a copy of a network that computes in float64."""
    return copy.deepcopy(model).double()


def exactly_integrated(wide: nn.Module, images: Tensor, labels: Tensor) -> Exact:
    """Return the exact integrals against zero of a network in float64, for the classes of images."""
    method = ExactIntegratedGradients(wide, max_regions=MOST_REGIONS)
    try:
        found, report = method.attribute(images.double(), target=labels, return_report=True)
    except (NotPiecewiseLinearError, RegionLimitError) as error:
        return Exact(None, (), in_one_line(error))
    return Exact(found, tuple(report.regions.tolist()), "")
