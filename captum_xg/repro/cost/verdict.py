"""Verdicts on what the paper says about costs.

*More than ten times as long* is confirmed where the whole interval over rounds is above 10; *several times the memory*
where the ratio, which is the same in each step, is above 2. Printed seconds, gigabytes and ratios are compared on a GPU
with Fixup-ResNet-50, 2 images of 224 pixels and 32 references only, and confirmed within a factor of 2, as GPUs and
versions differ. What must never happen: a number from a processor beside one from a GPU, as if they could agree.
"""

from __future__ import annotations

from captum_xg.repro.cost.claims import (
    ARITHMETIC,
    BATCHED,
    BYTES_EG,
    BYTES_TIMES,
    BYTES_XG,
    FRUGAL,
    LARGER,
    SAME,
    SECONDS_EG,
    SECONDS_XG,
    SLOWER,
    TIMES,
)
from captum_xg.repro.cost.costs import Costs
from captum_xg.repro.cost.steps import EG_BATCH, EG_FRUGAL, EG_LOOP, XG, Way
from captum_xg.repro.section import Claim, Finding, Verdict
from captum_xg.repro.verdicts import above, not_comparable

FACTOR = 2.0
"""Printed numbers count as confirmed within this factor."""
NO_MEMORY = "there was not enough memory for one of the two"


def findings(costs: Costs) -> tuple[Finding, ...]:
    """Return one finding for each claim, in their order."""
    return (
        _slower(SLOWER, costs, EG_LOOP),
        _printed_times(costs),
        _seconds(SECONDS_EG, costs, EG_LOOP, 1.12),
        _seconds(SECONDS_XG, costs, XG, 0.0086),
        _larger(costs),
        _printed_bytes_times(costs),
        _bytes(BYTES_EG, costs, EG_LOOP, 14.57),
        _bytes(BYTES_XG, costs, XG, 4.21),
        _arithmetic(costs),
        _slower(BATCHED, costs, EG_BATCH),
        _frugal(costs),
        _same(costs),
    )


def not_the_papers(costs: Costs) -> str:
    """Return why printed numbers are not compared; empty if they are."""
    if costs.setting.is_the_papers:
        return ""
    return "the paper's is of a ResNet-50 at 224 pixels, batch size 2, on an A100 GPU, which is not this setting"


def described(costs: Costs) -> str:
    """Return what was trained, and on what."""
    one = costs.setting
    network = "a Fixup-ResNet of 98 thousand parameters" if one.models == "small" else "Fixup-ResNet-50"
    return f"{network} at {one.image_size} pixels, batch size {one.batch_size}, on {costs.hardware}"


def within_factor(claim: Claim, what: str, found: float, number: float, reason: str) -> Finding:
    """Return whether a printed number came out within a factor of 2."""
    if reason:
        return not_comparable(claim, what, reason)
    factor = max(found / number, number / found)
    verdict = _verdict(factor <= FACTOR)
    return Finding(claim, what, verdict, f"they differ by a factor of {factor:.3g}, where {FACTOR:g} is allowed")


def _slower(claim: Claim, costs: Costs, way: Way) -> Finding:
    found = costs.times(way, XG)
    if found is None:
        return not_run(claim)
    return above(claim, found, 10, f"{way.label}, seconds over those of X-Gradient")


def _printed_times(costs: Costs) -> Finding:
    found = costs.times(EG_LOOP, XG)
    if found is None:
        return not_run(TIMES)
    least = costs.arithmetic(EG_LOOP, XG)
    what = f"{found.formatted('.3g')} × in a loop, as the released code has it; {least:.3g} × in arithmetic"
    return within_factor(TIMES, what, found.value, 130, not_the_papers(costs))


def _seconds(claim: Claim, costs: Costs, way: Way, number: float) -> Finding:
    found = costs.duration(way)
    if found is None:
        return not_run(claim)
    return within_factor(
        claim, f"{found.formatted('.3g')} s on {costs.hardware}", found.value, number, not_the_papers(costs)
    )


def _larger(costs: Costs) -> Finding:
    ratio = costs.larger(EG_LOOP, XG)
    if ratio is None:
        return not_run(LARGER)
    verdict = _verdict(ratio > 2)
    return Finding(LARGER, f"{ratio:.3g} × in a loop", verdict, "several times is more than twice")


def _printed_bytes_times(costs: Costs) -> Finding:
    ratio = costs.larger(EG_LOOP, XG)
    if ratio is None:
        return not_run(BYTES_TIMES)
    return within_factor(BYTES_TIMES, f"{ratio:.3g} ×", ratio, 3.46, not_the_papers(costs))


def _bytes(claim: Claim, costs: Costs, way: Way, number: float) -> Finding:
    found = costs.bytes[costs.setting.batch_size].get(way.key)
    if found is None:
        return not_run(claim)
    return within_factor(claim, gigabytes(found), found / 1e9, number, not_the_papers(costs))


def _arithmetic(costs: Costs) -> Finding:
    k = costs.setting.references
    own, expected = costs.arithmetic(XG), costs.arithmetic(EG_BATCH)
    right = abs(own / 2 - 1) <= 0.1 and abs(expected / (1 + 2 * k) - 1) <= 0.1
    ours = f"X-Gradient {own:.3g} plain steps, Expected Gradients {expected:.3g}, where 1 + 2k is {1 + 2 * k}"
    return Finding(ARITHMETIC, ours, _verdict(right), "10 % is allowed")


def _frugal(costs: Costs) -> Finding:
    ratio = costs.larger(EG_FRUGAL, XG)
    if ratio is None:
        return not_run(FRUGAL)
    verdict = _verdict(ratio < 2)
    more = costs.arithmetic(EG_FRUGAL, EG_BATCH)
    ours = f"{ratio:.3g} × the memory of X-Gradient, at {more:.3g} × the arithmetic of one batch"
    return Finding(FRUGAL, ours, verdict, "less than twice as much is allowed")


def _same(costs: Costs) -> Finding:
    largest = max(costs.differences.values())
    verdict = _verdict(largest <= 1e-9)
    ours = f"largest difference {largest:.1g} of the prior's largest gradient, in double precision, with few references"
    return Finding(SAME, ours, verdict, "1e-9 is allowed for rounding")


def not_run(claim: Claim) -> Finding:
    """Return that a number is missing, as there was not enough memory."""
    return Finding(claim, "–", "not run", NO_MEMORY)


def _verdict(holds: bool) -> Verdict:
    return "confirmed" if holds else "not confirmed"


def gigabytes(number: int) -> str:
    """Return bytes as a reader takes them in."""
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
