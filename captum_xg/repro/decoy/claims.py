"""What the decoy experiment asks; not of the paper."""

from __future__ import annotations

from captum_xg.repro.decoy.protocol import EG_1, EG_8, INPUT_X_GRADIENT, RRR
from captum_xg.repro.section import BEYOND, Claim


def _claim(key: str, says: str) -> Claim:
    return Claim(f"decoy/{key}", BEYOND, says)


FOOLED = _claim("fooled", "without a prior a network attributes more to the decoy than its share of the pixels")
HELPS = _claim("helps", "a prior on X-Gradient brings accuracy back that the decoy has cost")
LOOKS_AWAY = _claim("patch", "a prior on X-Gradient lowers the share of the attribution that is in the decoy")
BEATS = {
    method: _claim(f"beats_{method.key}", f"the prior helps more on X-Gradient than on {method.label}")
    for method in (RRR, EG_1, EG_8, INPUT_X_GRADIENT)
}
CHEAP = _claim("cost", "a step with the prior on X-Gradient takes less time than one on Expected Gradients (8)")
CLAIMS = (FOOLED, HELPS, LOOKS_AWAY, *BEATS.values(), CHEAP)
