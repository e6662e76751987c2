"""The verdicts of Table 2. A statement about all networks is confirmed where it is for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from captum_xg._core.estimate import Estimate
from captum_xg.repro.means import mean_over_examples
from captum_xg.repro.section import Claim, Finding
from captum_xg.repro.table2 import claims
from captum_xg.repro.table2.measure import FEW_STEPS, STEPS
from captum_xg.repro.table2.results import Family
from captum_xg.repro.verdicts import above, below, printed_number, within

MARGINALLY = 2.0
"""Percentage points. What the paper calls marginal is up to 1.44, for ResNet-50."""
VERY_DIFFERENT = 20.0
"""Percent. The paper's numbers are 79 to 98."""
VIRTUALLY_IDENTICAL = 0.05
"""Percent: what is printed as 0.0."""
EXACTLY = 1e-12
"""Relative, in float64: some thousand units of rounding."""
ROUNDING = 1.2e-6
"""Relative, in float32: ten units of rounding."""
AS_FAR = 2.0
"""Percentage points between two distances that are the same for a reader of the table."""
SAME_ACCURACY, SAME_DISTANCE, SAME_SMALL_DISTANCE = 0.3, 2.0, 0.1
"""How far from a printed number one may be that came out again: of percentages."""


def findings(families: Sequence[Family], not_the_papers: str) -> tuple[Finding, ...]:
    """Return the verdicts, in the order of the claims.

    Args:
        families: What came out.
        not_the_papers: Why printed numbers are not comparable; empty if they are.
    """
    return (
        *(_accuracies(family, not_the_papers) for family in families),
        _marginal(families),
        *(_distances(family, not_the_papers) for family in families),
        _different(families),
        _reduced(families),
        _equal(families),
        *_of_precision(families),
        _regular_exact(families),
    )


def all_of(claim: Claim, parts: Sequence[Finding]) -> Finding:
    """Return one finding for several parts of a claim: confirmed if all are, else why not."""
    ours = "; ".join(part.ours for part in parts)
    worst = next((part for part in parts if part.verdict != "confirmed"), None)
    if worst is not None:
        which, named, _ = worst.ours.partition(":")
        return Finding(claim, ours, worst.verdict, f"{which}: {worst.why}" if named else worst.why)
    whys = dict.fromkeys(part.why for part in parts)
    return Finding(claim, ours, "confirmed", "; ".join(whys))


def _accuracies(family: Family, not_the_papers: str) -> Finding:
    claim, printed = claims.TOP5_CLAIMS[family.family], claims.TOP5[family.family]
    found = [family.accuracy(which, "top5") for which in (0, 1)]
    return _two_numbers(claim, found, printed, (SAME_ACCURACY, SAME_ACCURACY), not_the_papers)


def _distances(family: Family, not_the_papers: str) -> Finding:
    claim, printed = claims.DISTANCE_CLAIMS[family.family], claims.DISTANCES[family.family]
    # What the authors published computes these numbers; Eq. 14 is beside it in the table.
    found = [family.distance(which, "released") for which in (0, 1)]
    return _two_numbers(claim, found, printed, (SAME_DISTANCE, SAME_SMALL_DISTANCE), not_the_papers)


def _two_numbers(
    claim: Claim,
    found: Sequence[Estimate],
    printed: Sequence[float],
    tolerances: Sequence[float],
    not_the_papers: str,
) -> Finding:
    parts = [
        printed_number(claim, estimate, number, tolerance, what, comparable=not_the_papers)
        for estimate, number, tolerance, what in zip(
            found, printed, tolerances, ("in %, with biases", "without"), strict=True
        )
    ]
    joined = all_of(claim, parts)
    return Finding(claim, joined.ours, joined.verdict, not_the_papers or joined.why)


def _marginal(families: Sequence[Family]) -> Finding:
    parts = [
        above(claims.MARGINAL, family.lost(key), -MARGINALLY, f"{family.family} {key.replace('p', 'p-')}", "+.2f")
        for family in families
        for key in ("top1", "top5")
    ]
    found = all_of(claims.MARGINAL, parts)
    return Finding(
        claims.MARGINAL, f"percentage points, without biases minus with: {found.ours}", found.verdict, found.why
    )


def _different(families: Sequence[Family]) -> Finding:
    return _each(claims.DIFFERENT, families, lambda family, what: _both(family, 0, what, VERY_DIFFERENT, above))


def _equal(families: Sequence[Family]) -> Finding:
    return _each(claims.EQUAL, families, lambda family, what: _both(family, 1, what, VIRTUALLY_IDENTICAL, below))


def _reduced(families: Sequence[Family]) -> Finding:
    return _each(
        claims.REDUCED,
        families,
        lambda family, what: [
            below(claims.REDUCED, family.reduced("released"), 0.0, f"{what}, points without biases minus with", ".3g")
        ],
    )


def _both(family: Family, which: int, what: str, bound: float, rule: Callable[..., Finding]) -> list[Finding]:
    """Return whether both formulas are on one side of a bound."""
    claim = claims.EQUAL if which else claims.DIFFERENT
    return [
        rule(claim, family.distance(which, key), bound, f"{what} {label}, %")
        for key, label in (("released", "released formula"), ("paper", "Eq. 14"))
    ]


def _each(claim: Claim, families: Sequence[Family], parts_of: Callable[[Family, str], Sequence[Finding]]) -> Finding:
    return all_of(claim, [part for family in families for part in parts_of(family, family.family)])


def _of_precision(families: Sequence[Family]) -> tuple[Finding, ...]:
    missing = [family for family in families if "xg to exact" not in family.precision["float64"]]
    if missing:
        reason = "; ".join(refusal for family in missing for refusal in family.refusals) or "no image was integrated"
        claimed = (claims.EXACT, claims.QUADRATURE, claims.WEIGHTS, claims.ROUNDING)
        return tuple(Finding(claim, "–", "not run", reason) for claim in claimed)
    return (
        _relative(claims.EXACT, families, "float64", "xg to exact", EXACTLY),
        all_of(claims.QUADRATURE, [_quadrature(family) for family in families]),
        all_of(claims.WEIGHTS, [_weights(family) for family in families]),
        _relative(claims.ROUNDING, families, "float32", "xg to ig", ROUNDING),
    )


def _relative(claim: Claim, families: Sequence[Family], precision: str, key: str, bound: float) -> Finding:
    parts = [
        below(claim, mean_over_examples(family.precision[precision][key]), bound, family.family, ".1e")
        for family in families
    ]
    found = all_of(claim, parts)
    return Finding(claim, f"relative difference in {precision}: {found.ours}", found.verdict, found.why)


_FARTHER = 10


def _quadrature(family: Family) -> Finding:
    """Return whether the deviation is IG's: whether IG is far more off from the exact integral than X-Gradient is."""
    of_ig, of_xg = (torch.tensor(family.precision["float64"][f"{each} to exact"]) for each in ("ig", "xg"))
    margin = mean_over_examples(of_ig - _FARTHER * of_xg)
    ours = f"{family.family} IG({STEPS}) {float(of_ig.mean()):.1e}, X-Gradient {float(of_xg.mean()):.1e}"
    rule = f"in float64 IG is more than {_FARTHER} times as far from the exact integral as X-Gradient"
    return Finding(claims.QUADRATURE, ours, above(claims.QUADRATURE, margin, 0.0, "").verdict, rule)


def _weights(family: Family) -> Finding:
    """Return whether the deviation is none of quadrature, which is larger with fewer steps.

    A path in n parts, with kinks anywhere, is off by some 1/n; a factor of two is asked for where there are eight times
    fewer steps. In float64, as in float32 a sum of 16 gradients is itself rounded by nearly twice what one of 128 is.
    """
    few, many = (torch.tensor(family.precision["float64"][f"xg to {which}"]) for which in ("few", "ig"))
    grown = mean_over_examples(few - 2 * many)
    many_steps, few_steps = (f"{float(each.mean()):.1e} with {n}" for each, n in ((many, STEPS), (few, FEW_STEPS)))
    ours = f"{family.family} {many_steps} steps, {few_steps}"
    rule = f"an error of quadrature would be more than twice as large with {FEW_STEPS} steps as with {STEPS}"
    return Finding(claims.WEIGHTS, ours, below(claims.WEIGHTS, grown, 0.0, "").verdict, rule)


def _regular_exact(families: Sequence[Family]) -> Finding:
    parts = []
    for family in families:
        if family.exact:
            one, other = (torch.tensor(family.exact[f"ixg to {each}"]["released"]) for each in ("exact", "ig"))
            what = f"{family.family}, {len(one)} images: points to the exact integral − to IG(128)"
            gap = mean_over_examples(100 * (one - other))
            parts.append(within(claims.REGULAR_EXACT, gap, AS_FAR, what, "+.2g"))
    if not parts:
        reasons = dict.fromkeys(refusal for family in families for refusal in family.refusals)
        reason = "; ".join(reasons) or "no image was integrated exactly; --exact-images N asks for it"
        return Finding(claims.REGULAR_EXACT, "–", "not run", reason)
    return all_of(claims.REGULAR_EXACT, parts)
