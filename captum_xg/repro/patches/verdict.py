"""Verdicts of the experiment on patches.

What must never happen: that networks that were hardly trained confirm anything about trained ones. Accuracies, and how
many steps a twin needs, are *not comparable* then; proofs, equality and costs do not depend on training.
"""

from __future__ import annotations

from captum_xg._core.estimate import Estimate
from captum_xg.repro.patches import claims
from captum_xg.repro.patches.integration import EXACT_STEPS
from captum_xg.repro.patches.networks import DEEP, FIXED, GATED, NO_NORM, NO_POSITIONS, SHORT, VARIANTS, Network, X
from captum_xg.repro.patches.protocol import Protocol
from captum_xg.repro.patches.results import Results
from captum_xg.repro.section import Claim, Finding, Verdict
from captum_xg.repro.verdicts import above, below, not_comparable

_POINTS, _LARGEST_DEVIATION = 1.0, 1e-6
_COST, _PRIOR_COST = 1.05, 2.6


def findings(results: Results, protocol: Protocol) -> tuple[Finding, ...]:
    """Return a finding for each claim, in their order."""
    return (
        *_of_the_two(results, protocol),
        *(_of_a_part(claim, results, protocol, having, lacking) for claim, having, lacking in _PARTS),
        _deep(results, protocol),
        below(
            claims.ATTRIBUTION_COST,
            results.ratio("cost-attribution-large", "X-Gradient"),
            _COST,
            f"X-Gradient / forward and backward pass, {results.values['cost-attribution-large']['images']} images, "
            "median over rounds",
        ),
        below(
            claims.PRIOR_COST,
            results.ratio("cost-training", "prior"),
            _PRIOR_COST,
            "step with a prior / plain step, median over rounds",
        ),
    )


# The network that has the part, and the one that lacks it.
_PARTS: tuple[tuple[Claim, Network, Network], ...] = (
    (claims.NORM, SHORT, NO_NORM),
    (claims.POSITIONS, SHORT, NO_POSITIONS),
    (claims.TEMPERATURE, SHORT, FIXED),
    (claims.GATE, GATED, SHORT),
)


def _of_the_two(results: Results, protocol: Protocol) -> tuple[Finding, ...]:
    if results.comparison_lost:
        reason = f"the loss became infinite in {', '.join(results.diverged())}"
        four = (claims.ACCURACY, claims.PROVEN, claims.EXACT, claims.STEPS)
        return tuple(Finding(claim, "–", "not confirmed", reason) for claim in four)
    difference = results.difference()
    what = "accuracy of xvit_small minus that of vit_small, in points, paired by seed"
    return (
        _trained(protocol, claims.ACCURACY, difference, what) or above(claims.ACCURACY, difference, -_POINTS, what),
        _proven(results),
        _exact(results),
        _steps(results, protocol),
    )


def _proven(results: Results) -> Finding:
    variants = [each for network in VARIANTS for each in results.trainings(network)]
    all_of_them = [*results.trainings(X), *(each for each in variants if each["finite"])]
    certified = [each for each in all_of_them if each.get("proven") and each["degree"] == 1]
    count = f"{len(certified)} of {len(all_of_them)} trained networks certified"
    right = len(certified) == len(all_of_them)
    return Finding(claims.PROVEN, count, "confirmed" if right else "not confirmed", "every one must be, with degree 1")


def _exact(results: Results) -> Finding:
    found = results.deviation()
    right = found <= _LARGEST_DEVIATION
    return Finding(
        claims.EXACT,
        f"largest difference to IG({EXACT_STEPS}), relative to the image's largest attribution: {found:.2g}",
        "confirmed" if right else "not confirmed",
        f"{_LARGEST_DEVIATION:g} is allowed, on every image and seed",
    )


def _steps(results: Results, protocol: Protocol) -> Finding:
    median, most = results.median_steps(), results.most_steps()
    what = f"median steps of the twin (95 % of the images: {most.formatted('.4g')}; xvit_small: 1)"
    return _trained(protocol, claims.STEPS, median, what) or above(claims.STEPS, median, 1, what, ".4g")


def _of_a_part(claim: Claim, results: Results, protocol: Protocol, having: Network, lacking: Network) -> Finding:
    if unfinished := _diverged(claim, results, having, lacking):
        return unfinished
    worth = results.gap(having, lacking)
    what = f"points it is worth, paired by seed, epochs: {protocol.ablation_epochs}"
    return _trained(protocol, claim, worth, what) or above(claim, worth, 0, what)


def _diverged(claim: Claim, results: Results, having: Network, lacking: Network) -> Finding | None:
    """Return the verdict where a training came to nothing."""
    lost = [each for each in (having, lacking) if not results.finite(each)]
    if not lost:
        return None
    # A part without which nothing can be trained is worth something.
    verdict: Verdict = "confirmed" if lost == [lacking] else "not confirmed"
    return Finding(claim, f"diverged: {', '.join(each.label for each in lost)}", verdict, "the loss became infinite")


def _deep(results: Results, protocol: Protocol) -> Finding:
    if not (results.finite(DEEP) and results.finite(SHORT)):
        return Finding(claims.DEEP, "diverged", "not confirmed", "the loss became infinite")
    what = f"accuracy of 12 layers minus that of 4, in points, paired by seed, epochs: {protocol.ablation_epochs}"
    found = results.gap(DEEP, SHORT)
    return _trained(protocol, claims.DEEP, found, what) or above(claims.DEEP, found, -_POINTS, what)


def _trained(protocol: Protocol, claim: Claim, found: Estimate, what: str) -> Finding | None:
    """Return that nothing is concluded from networks that were trained for too short a time."""
    if not protocol.too_short:
        return None
    return not_comparable(claim, f"{what}: {found.formatted('.3g')}", protocol.too_short)
