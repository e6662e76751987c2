"""Attributions within a region: the share of their energy outside."""

from __future__ import annotations

from torch import Tensor

from captum_xg._core.options import switch
from captum_xg.errors import PriorError
from captum_xg.priors.base import AttributionPrior
from captum_xg.priors.masks import boxes_as_region, checked_mask, chosen, fitted_mask
from captum_xg.priors.shapes import feature_dims, peak, share


class EnergyInRegion(AttributionPrior):
    r"""The share of the attributions that lies outside a region, averaged over examples.

    .. math:: \Omega(A) = \frac{1}{N} \sum_{x} \Big(1 - \frac{\sum_i R_i(x)\, e_i(x)}{\sum_i e_i(x)}\Big), \qquad
              e_i = |A_i|, \text{ or } \max(A_i, 0) \text{ if } \texttt{positive}

    with R = 1 inside, 0 outside, or a number in between. The fraction is the energy-based pointing game.

    Range: 0, where all is inside, to 1. Degree 0 in the attributions of each example. An example without attributions
    has nothing outside: 0 with zero gradient. One with an empty region has 1 with zero gradient.

    Args:
        region: A region that all examples of all batches share. Without it, every call needs ``region=`` or ``boxes=``.
        positive: Whether to count positive attributions only, as both sources do.

    Shapes: attributions ``(N, …)``; regions as the masks of :class:`~captum_xg.RightForRightReasons`. Boxes, for images
    ``(N, C, H, W)``: ``(N, 4)``, or ``(N, K, 4)`` for the union of K, as (x1, y1, x2, y2) in pixels. A box holds the
    columns x1 ≤ x < x2 and the rows y1 ≤ y < y2, counted from 0: (0, 0, W, H) is the whole image, and a box with x1 =
    x2 is empty.

    Raises:
        OptionError: If the region is not a tensor of booleans or numbers from 0 to 1.
        PriorError: When called, if there is no region or more than one, or what is given is none or does not fit.

    Source: Wang et al. 2020, *Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks*
    (energy-based pointing game); Rao et al. 2023, *Studying How to Efficiently and Effectively Guide Models with
    Explanations* (Energy loss: minus the fraction, which has the same gradient).
    """

    region: Tensor | None

    def __init__(self, region: Tensor | None = None, *, positive: bool = False) -> None:
        super().__init__()
        where = "EnergyInRegion"
        own = None if region is None else checked_mask(region, "region", where, largest=1).detach().clone()
        self.register_buffer("region", own)  # a copy, for a buffer that is loaded is written to
        self.positive = switch(positive, "positive", where)

    def penalty(self, attributions: Tensor, *, region: Tensor | None = None, boxes: Tensor | None = None) -> Tensor:
        """Return the mean over examples of the share outside."""
        inside = self._inside(attributions, region, boxes)
        scaled = attributions / peak(attributions, feature_dims(attributions))
        energy = scaled.relu() if self.positive else scaled.abs()
        # The outside itself, for 1 minus the inside would lose what little is left of it.
        outside = (energy * (1 - inside)).flatten(1).sum(1) if energy.dim() > 1 else energy * (1 - inside)
        total = energy.flatten(1).sum(1) if energy.dim() > 1 else energy
        return share(outside, total).mean()

    def extra_repr(self) -> str:
        """Return the options."""
        return f"region={None if self.region is None else tuple(self.region.shape)}, positive={self.positive}"

    def _inside(self, attributions: Tensor, region: Tensor | None, boxes: Tensor | None) -> Tensor:
        where = "EnergyInRegion"
        used = chosen(self.region, region, "region", where, largest=1)
        if (used is None) == (boxes is None):
            state = "no region" if used is None else "both a region and boxes"
            raise PriorError(f"{where}: there is {state}. Give one region, at construction or in the call, or boxes=….")
        if used is None:
            return boxes_as_region(boxes, attributions, where).to(attributions)
        return fitted_mask(used, attributions, "region", where, shared=region is None).to(attributions)
