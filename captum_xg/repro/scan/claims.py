"""What the scan experiment asks; not of the paper."""

from __future__ import annotations

from captum_xg.repro.section import BEYOND, Claim

SHARES = (1.0, 0.3, 0.1, 0.0)
"""Of the images that carry the patch; without any, there is nothing to be found."""
FIRST = 10
"""So many regions a person looks at."""


def percent(share: float) -> str:
    """Return a share of the images as it stands in names and tables."""
    return f"{share:.0%}"


def _claim(key: str, says: str) -> Claim:
    return Claim(f"scan/{key}", BEYOND, says)


FOOLED = _claim("fooled", "a patch in all training images costs a network accuracy on images without it")
FOUND = {
    share: _claim(
        f"found {percent(share)}",
        f"with the patch in {percent(share)} of the images, all four places of it are among the first {FIRST} regions "
        "that stand out in clusters of attributions",
    )
    for share in SHARES
    if share
}
BEFORE_MAPS = _claim(
    "maps", "clusters show each place of the patch before mean maps of classes do, all of which have it"
)
NO_ALARM = _claim("no alarm", f"without a patch no corner of the image is among the first {FIRST} regions")
LOOKS_AWAY = {
    share: _claim(
        f"looks away {percent(share)}",
        f"with the patch in {percent(share)} of the images, a prior on the regions found lowers the share of the "
        "attribution that is in the patch",
    )
    for share in SHARES
    if share
}
CURED = _claim("cured", "a prior on the regions found brings back accuracy on images without the patch")
AS_CLEAN = _claim(
    "as clean", "a network trained with that prior is within 2 points of one that has never seen the patch"
)
CLAIMS = (FOOLED, *FOUND.values(), BEFORE_MAPS, NO_ALARM, *LOOKS_AWAY.values(), CURED, AS_CLEAN)
