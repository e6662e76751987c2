"""Verdicts on our statements. *To rounding* is a relative error of at most 1e-9 at every single input.

Statements about each of several networks are confirmed where all of them are, by the 95 % interval over inputs; what
is shown is the network that is nearest to the bound. Intervals are over inputs of the networks here, not over networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from captum_xg._core.estimate import Estimate
from captum_xg.repro.section import Claim, Finding, Verdict
from captum_xg.repro.truth import claims, methods
from captum_xg.repro.truth.measure import KINDS, Kind
from captum_xg.repro.truth.methods import Method
from captum_xg.repro.truth.results import Results

ROUNDING = 1e-9
HOMOGENEOUS = tuple(kind for kind in KINDS if kind.homogeneous)
BIASED = tuple(kind for kind in KINDS if not kind.homogeneous)
INTERACTING = tuple(kind for kind in KINDS if kind.key in ("pairs", "gates", "templates"))


def findings(results: Results) -> tuple[Finding, ...]:
    """Return one finding for each claim, in their order."""
    return (
        _to_rounding(claims.HOMOGENEOUS, results, methods.XG, HOMOGENEOUS),
        _refusals(results),
        _all_above(claims.INPUT_X_GRADIENT, _errors(results, methods.INPUT_X_GRADIENT, BIASED), 0.02, "mean error"),
        _to_rounding(claims.EXACT, results, methods.EXACT, KINDS),
        _all_below(claims.QUADRATURE, _errors(results, methods.IG, BIASED), 0.02, "mean error"),
        _adaptive(results),
        _one_draw(results),
        _to_rounding(claims.DEEP_LIFT, results, methods.DEEP_LIFT, KINDS),
        _all_above(claims.OCCLUSION, _errors(results, methods.OCCLUSION, INTERACTING), 0.02, "mean error"),
        _gradient(results),
        _region(results),
    )


def _to_rounding(claim: Claim, results: Results, method: Method, kinds: Sequence[Kind]) -> Finding:
    worst = max(kinds, key=lambda kind: results.largest(method, [kind]))
    largest = results.largest(method, kinds)
    ours = f"largest error at an input {largest:.2g}, of “{worst.key}”"
    return Finding(claim, ours, _verdict(largest <= ROUNDING), f"at most {ROUNDING:g} is allowed at every input")


def _adaptive(results: Results) -> Finding:
    found = _all_below(claims.ADAPTIVE, _errors(results, methods.ADAPTIVE, KINDS), 0.01, "mean error")
    return replace(found, ours=f"{found.ours}; largest at an input {results.largest(methods.ADAPTIVE):.2g}")


def _refusals(results: Results) -> Finding:
    refused = [sum(results.refused(kind, methods.XG) for kind in kinds) for kinds in (BIASED, HOMOGENEOUS)]
    there = [sum(map(results.networks, kinds)) for kinds in (BIASED, HOMOGENEOUS)]
    ours = f"{refused[0]} of {there[0]} with biases refused, {refused[1]} of {there[1]} without"
    return Finding(claims.REFUSES, ours, _verdict(refused == [there[0], 0]), "all of the former and none of the latter")


def _errors(results: Results, method: Method, kinds: Sequence[Kind]) -> dict[str, Estimate]:
    found = {kind.key: results.mean(kind, method, "error") for kind in kinds}
    return {key: each for key, each in found.items() if each is not None}


def _all_above(claim: Claim, found: dict[str, Estimate], bound: float, what: str) -> Finding:
    key = min(found, key=lambda each: found[each].low)
    ours = f"{what}, the smallest of {len(found)} networks, of “{key}”: {found[key].formatted('.3g')}"
    right = all(each.low > bound for each in found.values())
    return Finding(claim, ours, _verdict(right), f"confirmed where all intervals lie above {bound:g}")


def _all_below(claim: Claim, found: dict[str, Estimate], bound: float, what: str) -> Finding:
    key = max(found, key=lambda each: found[each].high)
    ours = f"{what}, the largest of {len(found)} networks, of “{key}”: {found[key].formatted('.3g')}"
    right = all(each.high < bound for each in found.values())
    return Finding(claim, ours, _verdict(right), f"confirmed where all intervals lie below {bound:g}")


def _one_draw(results: Results) -> Finding:
    errors = _errors(results, methods.EG1, BIASED)
    more = {kind.key: results.difference(kind, methods.EG1, methods.EG32, "error") for kind in BIASED}
    key = min(errors, key=lambda each: errors[each].low)
    ours = f"mean error, the smallest of {len(errors)} networks, of “{key}”: {errors[key].formatted('.3g')}; "
    nearest = min(more, key=lambda each: more[each].low)
    ours += f"more than EG(32) by at least {more[nearest].formatted('.3g')}"
    right = all(each.low > 0.1 for each in errors.values()) and all(each.low > 0 for each in more.values())
    return Finding(claims.ONE_DRAW, ours, _verdict(right), "all intervals above 0.1, and of the difference above 0")


def _gradient(results: Results) -> Finding:
    found = {kind.key: results.difference(kind, methods.EXACT, methods.GRADIENT, "spearman") for kind in KINDS}
    return _all_above(claims.GRADIENT, found, 0, "Spearman's correlation, exact IG minus gradient")


def _region(results: Results) -> Finding:
    least = min(v for kind in KINDS if kind.has_region for v in results.each(kind, methods.EXACT, "share"))
    ours = f"smallest share at an input 1 − {1 - least:.2g}"
    return Finding(claims.REGION, ours, _verdict(least >= 1 - ROUNDING), f"all but {ROUNDING:g} at every input")


def _verdict(holds: bool) -> Verdict:
    return "confirmed" if holds else "not confirmed"
