"""What is claimed of denoisers without biases; none of it is of the paper, the idea is of Mohan et al. 2020."""

from __future__ import annotations

from captum_xg.repro.restoration.protocol import FAMILIES, MOST, SEEN, UNSEEN
from captum_xg.repro.section import BEYOND, Claim

_BEYOND_TRAINING = f"noise of σ = {UNSEEN[0]} to {UNSEEN[-1]}, where σ ≤ {MOST} was trained on"


def _by_family(key: str, says: str) -> dict[str, Claim]:
    return {
        family: Claim(f"restoration/{family}/{key}", BEYOND, f"{label}: {says}") for family, label in FAMILIES.items()
    }


CERTIFIED = _by_family("certified", "without biases it is proven to be of degree 1, and its twin is not")
UNSEEN_NOISE = _by_family("unseen", f"without biases it restores better than its twin at {_BEYOND_TRAINING}")
SEEN_NOISE = _by_family("seen", f"at noise that was trained on (σ = {SEEN[0]} to {SEEN[-1]}) the two are equally good")
NET_BIAS = _by_family(
    "net_bias", f"what the twin adds beside its filters is more at σ = {UNSEEN[-1]} than at σ = {MOST}"
)
FILTERS = _by_family("filters", "filter times image is the Integrated Gradients of a pixel, and sums to the pixel")
AVERAGES = _by_family("averages", "without biases the filters average over more pixels, the more noise there is")

BY_KIND = (CERTIFIED, FILTERS, UNSEEN_NOISE, SEEN_NOISE, NET_BIAS, AVERAGES)
CLAIMS = tuple(claims[family] for family in FAMILIES for claims in BY_KIND)
