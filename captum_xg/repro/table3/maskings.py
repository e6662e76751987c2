"""The masks of Table 3: what takes the place of features that are masked, and the four metrics with each of them.

The protocols ``paper`` and ``released`` differ in the kernel of the blur alone here: the released average over batches
is wrong for a short last one, and a benchmark leaves it out. So an imputation that is no blur is the same in both.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from captum_xg.metrics import KeepAbsoluteMask, KeepNegativeMask, KeepPositiveMask, RemoveAbsoluteMask
from captum_xg.metrics.maskers import GaussianBlur, NoisyLinear
from captum_xg.metrics.masking.maskers.base import Masker
from captum_xg.metrics.masking.metric import MaskingMetric
from captum_xg.metrics.masking.order import Protocol
from captum_xg.repro.table3.printed import METRICS

PAPER, RELEASED, SCALED, ROAD = "paper", "released", "scaled", "ROAD"
SIDE = 224
"""Of the paper's images, in pixels."""
_KINDS: dict[str, type[MaskingMetric]] = {
    "KPM": KeepPositiveMask,
    "KNM": KeepNegativeMask,
    "KAM": KeepAbsoluteMask,
    "RAM": RemoveAbsoluteMask,
}


@dataclass(frozen=True)
class Masking:
    """One way to mask.

    Attributes:
        key: Its name.
        about: What takes the place of masked pixels.
        masker: What gives these values.
        protocol: Of the metrics.
    """

    key: str
    about: str
    masker: Masker
    protocol: Protocol = "paper"


def maskings(side: int) -> dict[str, Masking]:
    """Return the maskings for images with so many pixels at their shorter side, by key.

    The paper's kernel of 51 pixels is a quarter of its images and larger than a small one, of which it leaves little
    but the mean colour: there the kernel in proportion to the image is tried as well.
    """
    wide = GaussianBlur(protocol="released")
    found = [
        Masking(PAPER, "the paper's blur, kernel 51, σ 41", GaussianBlur()),
        Masking(RELEASED, "the released code's blur, kernel 51, σ 41·√2", wide, "released"),
    ]
    if side < SIDE:
        size, sigma = 2 * round((51 * side / SIDE - 1) / 2) + 1, 41 * side / SIDE
        blur = GaussianBlur(max(size, 3), sigma)
        about = f"the paper's blur in proportion to the image, kernel {blur.kernel_size}, σ {sigma:.3g}"
        found.append(Masking(SCALED, about, blur))
    # Its noise has a deviation of 0.01: a residual of 1e-4 is far below it, and takes half the time of 1e-8.
    road = NoisyLinear(tolerance=1e-4)
    found.append(Masking(ROAD, "noisy linear imputation from the pixels around (ROAD)", road))
    return {each.key: each for each in found}


def metrics_of(model: nn.Module, chosen: dict[str, Masking]) -> dict[str, MaskingMetric]:
    """Return all metrics with all maskings, for one benchmark: attributions are computed once for all of them."""
    return {
        metric_name(masking.key, short): _KINDS[short](model, masker=masking.masker, protocol=masking.protocol)
        for masking in chosen.values()
        for short in METRICS
    }


def metric_name(masking: str, short: str) -> str:
    """Return what a metric with a masking is called in a benchmark."""
    return f"{short}, {masking}"
