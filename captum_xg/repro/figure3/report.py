"""The section of Figure 3: verdicts, and the numbers behind the picture as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from captum_xg._core.estimate import Estimate
from captum_xg.repro.figure3 import claims
from captum_xg.repro.figure3.curves import CLOSE, Curves, curves_of, relative
from captum_xg.repro.figure3.measure import RULES, STEPS
from captum_xg.repro.means import mean_over_examples
from captum_xg.repro.section import Claim, Finding, Panel, Verdict, table
from captum_xg.repro.verdicts import above, below

DEFAULT = RULES[0]
ROUNDING = 1.2e-6
"""Ten units of rounding in float32, relative."""
OFF = 1e-3
"""From what on the reference counts as off."""
APPROXIMATELY = (64, 128, 256)
"""The numbers of steps, of those tried, that "approximately 128" may mean."""


@dataclass(frozen=True)
class Network:
    """What is known of one network.

    Attributes:
        name: Its name.
        to_300: Differences to IG(300).
        to_exact: To the exact integral; None if there is none.
        of_300: The relative difference of IG(300) to the exact integral, by image.
        regions: Linear pieces of the paths with an exact integral.
        refusals: Why exact integrals are missing.
    """

    name: str
    to_300: Curves
    to_exact: Curves | None
    of_300: torch.Tensor
    regions: tuple[int, ...]
    refusals: tuple[str, ...]


def network_of(name: str, values: Sequence[Mapping[str, Any]]) -> Network:
    """Return what the units of a network came to."""
    exact = [value["exact"] for value in values if value["exact"] is not None]
    of_300, scale = (torch.tensor([each[key] for each in exact], dtype=torch.float64) for key in ("of_300", "scale"))
    return Network(
        name,
        curves_of([value["to_300"] for value in values]),
        curves_of(exact) if exact else None,
        relative(of_300, scale),
        tuple(each["regions"] for each in exact),
        tuple(sorted({value["refusal"] for value in values if value["refusal"]})),
    )


def findings(regular: Network, xdnn: Network) -> tuple[Finding, ...]:
    """Return the verdicts."""
    printed = "relative difference of IG(128) to IG(300)"
    return (
        below(claims.SUFFICIENT, regular.to_300.relative(DEFAULT, 128), CLOSE, printed),
        _necessary(regular),
        *_against_exact(regular),
        below(
            claims.HOMOGENEOUS, xdnn.to_300.relative(DEFAULT, 2), ROUNDING, "relative difference of IG(2) to IG(300)"
        ),
        _rules(regular),
    )


def _necessary(regular: Network) -> Finding:
    reached = regular.to_300.converged_at(DEFAULT)
    ours = f"{_steps(reached)} to stay within {CLOSE:.0%} of IG(300)" + (
        f", {_steps(regular.to_exact.converged_at(DEFAULT))} of the exact integral" if regular.to_exact else ""
    )
    verdict: Verdict = "confirmed" if reached in APPROXIMATELY else "not confirmed"
    return Finding(claims.NECESSARY, ours, verdict, "approximately 128 are 64 to 256, of the powers of two tried")


def _against_exact(regular: Network) -> tuple[Finding, Finding]:
    if regular.to_exact is None:
        return _not_run(claims.EXACT, regular), _not_run(claims.REFERENCE, regular)
    images = f"{len(regular.to_exact)} images"
    of_128, of_300 = regular.to_exact.relative(DEFAULT, 128), mean_over_examples(regular.of_300)
    to_exact = f"to the exact integral, {images}"
    return (
        below(claims.EXACT, of_128, CLOSE, f"relative difference of IG(128) {to_exact}"),
        above(claims.REFERENCE, of_300, OFF, f"relative difference of IG(300) {to_exact}"),
    )


def _rules(regular: Network) -> Finding:
    if regular.to_exact is None:
        return _not_run(claims.RULES, regular)
    default = regular.to_exact.relative_values(DEFAULT, 128)
    others = {rule: regular.to_exact.relative_values(rule, 128) for rule in ("riemann_left", "riemann_trapezoid")}
    gaps = {rule: mean_over_examples(values - default) for rule, values in others.items()}
    nearest = min(gaps, key=lambda rule: gaps[rule].low)
    what = f"relative difference of {nearest} minus that of Gauss-Legendre, paired, the smaller of both gaps"
    return above(claims.RULES, gaps[nearest], 0.0, what)


def _not_run(claim: Claim, network: Network) -> Finding:
    reason = "; ".join(network.refusals) or "no image was integrated exactly; --exact-images N asks for it"
    return Finding(claim, "–", "not run", reason)


def panels(networks: Sequence[Network]) -> tuple[Panel, ...]:
    """Return a table for each network and reference."""
    found = []
    for network in networks:
        for reference, curves in (("IG(300)", network.to_300), ("the exact integral", network.to_exact)):
            if curves is not None:
                title = f"{network.name}: difference to {reference} in % of its mean size, {len(curves)} images"
                found.append(table(title, _rows(curves)))
    return tuple(found)


def _rows(curves: Curves) -> list[list[str]]:
    reached = "steps for 1 %"
    rows = [["rule", *(f"n = {n}" for n in STEPS), reached]]
    for rule in RULES:
        cells = [_percent(curves.relative(rule, n)) for n in STEPS]
        rows.append([rule, *cells, _steps(curves.converged_at(rule), unit="")])
    return rows


def _percent(found: Estimate) -> str:
    return "–" if math.isnan(found.value) else f"{100 * found.value:.2g}"


def _steps(n: int | None, unit: str = " steps") -> str:
    return f"more than {STEPS[-1]}{unit}" if n is None else f"{n}{unit}"
