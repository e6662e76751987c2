"""The section of the report: verdicts, tables and pictures, from numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from captum_xg._core.estimate import Estimate
from captum_xg.datasets.photographs import TEST, TRAINING
from captum_xg.repro import verdicts
from captum_xg.repro.restoration import claims
from captum_xg.repro.restoration.figure import CURVES, EXAMPLES, FILTERS
from captum_xg.repro.restoration.protocol import FAMILIES, MOST, SEEN, UNSEEN, Protocol
from captum_xg.repro.restoration.results import Family
from captum_xg.repro.section import Claim, Finding, Panel, Section, table
from captum_xg.repro.units import Unit, effort

ALIKE = 0.3
"""Ratios that differ by less, in decibels, count as equally good."""
ENOUGH = 1000
"""Steps below which networks are no denoisers, and say nothing of any."""
TOLERANCE = 1e-6
"""Largest deviation that counts as rounding, in double precision; Captum's weights of steps are in single precision."""


def report(
    found: Sequence[Family], units: Mapping[str, Unit], protocol: Protocol, preset: str, command: str
) -> Section:
    """Return what there is to say."""
    by_key = {each.key: each for each in found}
    untrained = f"{protocol.steps} steps train no denoiser" if protocol.seeds and protocol.steps < ENOUGH else ""
    findings = [
        finding
        for family, label in FAMILIES.items()
        for finding in (_findings(by_key[family], untrained) if family in by_key else _not_run(family, label, preset))
    ]
    seconds, commits = effort(units)
    return Section(
        "restoration",
        "Images restored without biases",
        _setting(found, protocol),
        tuple(findings),
        (*(panel for each in found for panel in _tables(each)), *_pictures(found)),
        _notes(protocol, untrained),
        command,
        seconds,
        commits,
        {name: _without_pictures(unit.value) for name, unit in units.items()},
    )


def _findings(family: Family, untrained: str) -> list[Finding]:
    """Return the verdicts; proofs are of any weights, the rest of trained ones."""
    key = family.key
    of_any = [_certified(family, claims.CERTIFIED[key]), _exact(family, claims.FILTERS[key])]
    of_denoisers = _of_denoisers(family)
    if untrained:
        of_denoisers = [verdicts.not_comparable(each.claim, each.ours, untrained) for each in of_denoisers]
    return [*of_any, *of_denoisers]


def _of_denoisers(family: Family) -> list[Finding]:
    key, most = family.key, UNSEEN[-1]
    names = "decibels of the network without biases minus its twin's"
    return [
        verdicts.above(claims.UNSEEN_NOISE[key], family.gain(UNSEEN), 0, names),
        verdicts.within(claims.SEEN_NOISE[key], family.gain(SEEN), ALIKE, names),
        verdicts.above(
            claims.NET_BIAS[key],
            family.net_bias_grows(MOST, most),
            0,
            f"net bias in grey levels at σ = {most} minus that at σ = {MOST}",
        ),
        verdicts.above(
            claims.AVERAGES[key],
            family.more_pixels(MOST, most),
            0,
            f"pixels averaged over, σ = {most} beside σ = {MOST}, in doublings",
        ),
    ]


def _certified(family: Family, claim: Claim) -> Finding:
    proven = [bool(run["homogeneous"]) for run in family.xdnns]
    twins = [bool(run["homogeneous"]) for run in family.twins]
    ours = f"proven: {sum(proven)} of {len(proven)} without biases, {sum(twins)} of {len(twins)} twins"
    right = all(proven) and not any(twins)
    return Finding(claim, ours, "confirmed" if right else "not confirmed", "certify says so of each trained network")


def _exact(family: Family, claim: Claim) -> Finding:
    from_ig, from_pixel = family.worst(0, "from_ig"), family.worst(0, "from_pixel")
    ours = f"largest relative deviation {from_ig:.1e} from Integrated Gradients, {from_pixel:.1e} of the sum"
    right = max(from_ig, from_pixel) < TOLERANCE
    why = f"both have to be below {TOLERANCE:g}, in double precision"
    return Finding(claim, ours, "confirmed" if right else "not confirmed", why)


def _not_run(family: str, label: str, preset: str) -> list[Finding]:
    why = f"the preset {preset} has no {label}"
    return [Finding(each[family], "nothing", "not run", why) for each in claims.BY_KIND]


def _tables(family: Family) -> list[Panel]:
    label = FAMILIES[family.key]
    ratios: list[list[str]] = [["noise, σ of 255", "noisy image", "with biases", "without biases", "difference"]]
    biases: list[list[str]] = [
        ["noise, σ of 255", "net bias, with biases", "without biases", "pixels averaged over", "sum of weights"]
    ]
    pixels = family.filters[0]
    for level in (*SEEN, *UNSEEN):
        shown = f"{level}" if level <= MOST else f"{level}, not trained on"
        ratios.append(
            [
                shown,
                f"{family.noisy(level):.2f}",
                _with_error(family.ratio("twins", [level])),
                _with_error(family.ratio("xdnns", [level])),
                family.gain([level]).formatted("+.2f"),
            ]
        )
        biases.append(
            [
                shown,
                f"{family.amount('net_bias', 'twins', level):.2f}",
                f"{family.amount('net_bias', 'xdnns', level):.1g}",
                f"{_median(pixels['pixels'][str(level)]):.3g}",
                f"{_median(pixels['sum'][str(level)]):.3f}",
            ]
        )
    return [
        table(f"{label}: peak signal-to-noise ratio in decibels, {_spread(family)}", ratios),
        table(f"{label}: net bias in grey levels (root mean square), and filters without biases (medians)", biases),
    ]


def _spread(family: Family) -> str:
    seeds = len(family.xdnns)
    return f"mean ± standard error over {seeds} trainings" if seeds > 1 else "mean over images of one network"


def _with_error(found: Estimate) -> str:
    error = getattr(found, "standard_error", None)
    return f"{found.value:.2f}" if error is None else f"{found.value:.2f} ± {error:.2f}"


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _pictures(found: Sequence[Family]) -> tuple[Panel, ...]:
    names = " and ".join(FAMILIES[each.key] for each in found)
    return (
        Panel(
            "Signal-to-noise ratios, and what is taken away, by noise",
            picture=CURVES,
            description=f"Curves of {names}: with biases they fall off where noise was not trained on.",
        ),
        Panel(
            "A photograph that was not trained on, at noise that was not trained on",
            picture=EXAMPLES,
            description="The photograph, with noise, and restored with and without biases.",
        ),
        Panel(
            "Filters of three pixels at two levels of noise, without biases",
            picture=FILTERS,
            description="Weights of the pixels around: narrow at little noise, wide at much, and along an edge.",
        ),
    )


def _setting(found: Sequence[Family], protocol: Protocol) -> str:
    images = len(found[0].xdnns[0]["psnr"][str(MOST)])
    names = " and ".join(f"{FAMILIES[f.key]} ({f.xdnns[0]['parameters']:,} parameters)" for f in found)
    squares = f"{images} squares of {protocol.side} × {protocol.side} pixels"
    where = f"{squares} of {len(TEST)} photographs that none was trained on"
    if not protocol.seeds:
        return f"{names} with the shipped weights, and twins with biases; {where}; σ ≤ {MOST} of 255 was trained on."
    devices = {run["device"] for each in found for run in each.xdnns}
    trainings = f"{len(protocol.seeds)} training{'s' * (len(protocol.seeds) > 1)} of {protocol.steps:,} steps"
    return (
        f"{names} and twins with biases, {trainings} on {len(TRAINING)} "
        f"photographs of scikit-image ({', '.join(sorted(devices))}), noise σ ≤ {MOST} of 255; measured on {where}."
    )


def _notes(protocol: Protocol, untrained: str) -> tuple[str, ...]:
    notes = ["Noise is Gaussian, the same for all networks. Restored images are not clipped to [0, 1]."]
    if not protocol.seeds or len(protocol.seeds) == 1:
        notes.append("There is one training of each network: intervals are over images, and say nothing of others.")
    else:
        notes.append("Intervals are over trainings (Student's t); differences are in pairs of one seed and image.")
    if untrained:
        notes.append(f"{untrained}: this run only shows that everything runs.")
    return tuple(notes)


def _without_pictures(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key not in ("drawn", "example")}
