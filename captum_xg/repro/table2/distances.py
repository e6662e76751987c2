"""How far attributions are from a reference, image by image, and where the mean of ratios may mislead.

Eq. 14 is the mean of |reference − attribution| / |reference| over all numbers of an image. Where the reference is
nearly 0 a ratio may be of any size, and a few make the mean; where both are exactly 0, as behind black pixels, the
ratio counts as 0 and lowers it. So beside it stand the median and the share of large ratios, over the other numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from captum_xg.metrics import MeanAbsoluteRelativeDifference

LARGE = 0.1
KEYS = ("paper", "released", "median", "large", "zeros")
"""Eq. 14; the released formula, for each image by itself; the median ratio and the share of ratios above ``LARGE``,
both where the reference is not 0; the share of numbers where it is."""


def compared(given: Tensor, reference: Tensor) -> dict[str, list[float]]:
    """Return all distances of attributions from a reference, a list over images for each of ``KEYS``."""
    rows, wanted = (each.detach().double().cpu().flatten(1) for each in (given, reference))
    paper, released = (MeanAbsoluteRelativeDifference(p).scores(rows, wanted) for p in ("paper", "released"))
    medians, large = [], []
    for a, r in zip(rows, wanted, strict=True):
        ratios = ((a - r).abs() / r.abs())[r != 0]
        medians.append(float(ratios.median()) if len(ratios) else 0.0)
        large.append(float((ratios > LARGE).double().mean()) if len(ratios) else 0.0)
    zeros = (wanted == 0).double().mean(1)
    values = (paper.tolist(), released.tolist(), medians, large, zeros.tolist())
    return dict(zip(KEYS, values, strict=True))


def relative(given: Tensor, reference: Tensor) -> list[float]:
    """Return Σ |reference − attribution| / Σ |reference| of each image; two zeros do not differ."""
    rows, wanted = (each.detach().double().cpu().flatten(1) for each in (given, reference))
    difference = (rows - wanted).abs().sum(1)
    return [float(each) for each in torch.where(difference == 0, 0.0, difference / wanted.abs().sum(1))]
