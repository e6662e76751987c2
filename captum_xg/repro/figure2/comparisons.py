"""How far attributions are apart over many images, with intervals, and the verdicts that follow.

Both figures make the same four statements; each brings its own words for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captum_xg._core.estimate import Estimate
from captum_xg.repro.figure2.attributions import PAIRS
from captum_xg.repro.means import mean_over_examples
from captum_xg.repro.section import Claim, Finding, Panel, table
from captum_xg.repro.verdicts import above, below

SAME, DIFFERENT = 0.01, 0.1
"""Mean distances below and above which attributions count as equal and as different; 1 is nothing in common."""
_AT_FULL, _AT_LOW, _SINGLE, _IG = PAIRS
_NAMES = {
    True: (
        "X-Gradient and IG, α = 1",
        "X-Gradient and IG, α = 0.3",
        "X-Gradient at α = 1 and 0.3",
        "IG at α = 1 and 0.3",
    ),
    False: ("I × G and IG, α = 1", "I × G and IG, α = 0.3", "I × G at α = 1 and 0.3", "IG at α = 1 and 0.3"),
}


@dataclass(frozen=True)
class Comparisons:
    """The numbers of one network about all images, as ``attributions.compared`` gives them."""

    numbers: Mapping[str, Mapping[str, Sequence[float]]]
    halved: Sequence[bool]
    on_zeros: Sequence[float]

    @classmethod
    def of(cls, parts: Iterable[Mapping[str, Any]]) -> Comparisons:
        """Return what several batches came to together."""
        several = list(parts)
        kinds = ("distance", "correlation")
        numbers = {name: {k: [v for each in several for v in each[name][k]] for k in kinds} for name in PAIRS}
        rest = ([value for each in several for value in each[name]] for name in ("halved", "on_zeros"))
        return cls(numbers, *rest)

    def distance(self, pair: str) -> Estimate:
        """Return the mean distance over images."""
        return mean_over_examples(self.numbers[pair]["distance"])

    def farthest(self, *pairs: str) -> float:
        """Return the largest distance of any image."""
        return max(value for pair in pairs for value in self.numbers[pair]["distance"])

    def correlation(self, pair: str) -> Estimate:
        """Return the mean rank correlation over images."""
        return mean_over_examples(self.numbers[pair]["correlation"])

    def worst(self, *pairs: str) -> Estimate:
        """Return the mean distance of the pair that is farthest apart."""
        return max((self.distance(pair) for pair in pairs), key=lambda found: found.value)

    def nearest(self, *pairs: str) -> Estimate:
        """Return the mean distance of the pair that is nearest."""
        return min((self.distance(pair) for pair in pairs), key=lambda found: found.value)


@dataclass(frozen=True)
class FourClaims:
    """What both figures say.

    Attributes:
        equal: X-Gradient and Integrated Gradients are equal on the X-AlexNet.
        scaled: Contrast only scales attributions of the X-AlexNet.
        methods: On AlexNet input × gradient and Integrated Gradients differ.
        contrasts: On AlexNet attributions change with the contrast.
    """

    equal: Claim
    scaled: Claim
    methods: Claim
    contrasts: Claim

    @property
    def all(self) -> tuple[Claim, ...]:
        """The four."""
        return self.equal, self.scaled, self.methods, self.contrasts


def findings(claims: FourClaims, xdnn: Comparisons, regular: Comparisons) -> list[Finding]:
    """Return the verdicts on the four claims; where one is about two pairs, the less favourable one decides."""
    mean = "mean distance d (0: equal up to a factor, 1: nothing in common)"
    farthest = f"of the pair that is farther apart; of any image at most {xdnn.farthest(_AT_FULL, _AT_LOW):.1e}"
    exact = (
        f"X-Gradient at α = ½ is half of that at 1 to the last bit for {sum(xdnn.halved)} of {len(xdnn.halved)} images"
    )
    scaled = f"{exact}; for α = 0.3, {mean}, of any image at most {xdnn.farthest(_SINGLE, _IG):.1e}"
    nearer = f"{mean}, the smaller of two"
    return [
        below(claims.equal, xdnn.worst(_AT_FULL, _AT_LOW), SAME, f"{mean} {farthest}", ".2g"),
        below(claims.scaled, xdnn.worst(_SINGLE, _IG), SAME, scaled, ".2g"),
        above(claims.methods, regular.nearest(_AT_FULL, _AT_LOW), DIFFERENT, f"{nearer} (α = 1, α = 0.3)"),
        above(claims.contrasts, regular.nearest(_SINGLE, _IG), DIFFERENT, f"{nearer} (I × G, IG)"),
    ]


def panel(xdnn: Comparisons, regular: Comparisons) -> Panel:
    """Return the table of all distances and correlations."""
    rows = [["network", "attributions", "distance d", "largest d of an image", "rank correlation"]]
    for network, found, names in (("X-AlexNet", xdnn, _NAMES[True]), ("AlexNet", regular, _NAMES[False])):
        for pair, name in zip(PAIRS, names, strict=True):
            numbers = (found.distance(pair).formatted(".2g"), f"{found.farthest(pair):.2g}")
            rows.append([network, name, *numbers, found.correlation(pair).formatted(".3f")])
    n = len(xdnn.numbers[_AT_FULL]["distance"])
    title = (
        f"How far attributions are apart: means over {n} images with 95 % intervals. d is half the sum of absolute "
        "differences once both are scaled to ‖a‖₁ = 1; ranks are Spearman's, over pixels"
    )
    return table(title, rows)
