"""The section on the scan: findings, tables of ranks and of what the prior changes, pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from captum_xg.repro.estimate import difference, estimate
from captum_xg.repro.scan import claims
from captum_xg.repro.scan.claims import FIRST, percent
from captum_xg.repro.scan.measure import ENOUGH, MOST
from captum_xg.repro.scan.results import Results, shown
from captum_xg.repro.section import Claim, Finding, Panel, Section, Verdict, table
from captum_xg.repro.verdicts import above, below, within

_NOTES = (
    "The patch is in one of four corners, each as likely, so that all four are places to be found. A region is such a "
    "place where their intersection is at least half of their union. Boxes of 9 sizes at all positions are ranked, "
    f"and of those that overlap the best is kept; a place that is not among {MOST} regions has no rank (–).",
    "Regions that hold what a class looks like stand out as well, and no score tells them from a patch: a person has "
    f"to look. The prior here is on all regions with a score of at least {ENOUGH:g}, a bound set by seeds 0 and 1.",
)


def findings(results: Results) -> tuple[Finding, ...]:
    """Return one finding for each claim, in their order."""
    clean = results.each(0.0, "before", "clean")
    before, after = (results.each(1.0, when, "clean") for when in ("before", "after"))
    spec = ".3f"
    return (
        below(claims.FOOLED, difference(before, clean), 0.0, "accuracy minus that of a network without patches", spec),
        *(_found(claim, results, share) for share, claim in claims.FOUND.items()),
        _before_maps(results),
        _no_alarm(results),
        *(_looks_away(claim, results, share) for share, claim in claims.LOOKS_AWAY.items()),
        above(claims.CURED, difference(after, before), 0.0, "accuracy after minus before", spec),
        within(
            claims.AS_CLEAN, difference(after, clean), 0.02, "accuracy minus that of a network without patches", spec
        ),
    )


def report(
    results: Results,
    setting: str,
    command: str,
    pictures: Sequence[Panel],
    seconds: float,
    commits: tuple[str, ...],
) -> Section:
    """Return the section."""
    numbers = {name: {k: v for k, v in unit.items() if k != "maps"} for name, unit in results.units.items()}
    return Section(
        "scan",
        "Explaining all data: is a patch found that nobody has told of?",
        setting,
        findings(results),
        (
            table("Ranks of the four places of the patch among regions that stand out", _rank_table(results)),
            table("Before and after a prior on the regions found; means and 95 % intervals", _effect_table(results)),
            *pictures,
        ),
        _NOTES,
        command,
        seconds,
        commits,
        {"units": numbers},
    )


def _found(claim: Claim, results: Results, share: float) -> Finding:
    if share not in results.shares:
        return _not_run(claim)
    ranks = results.ranks(share)
    first, worst = sum(rank <= FIRST for rank in ranks), max(ranks)
    ours = f"{first} of {len(ranks)} places of {results.seeds} networks; the last has rank {shown(worst)}"
    return Finding(claim, ours, "confirmed" if worst <= FIRST else "not confirmed", "confirmed where all of them are")


def _before_maps(results: Results) -> Finding:
    pairs = list(zip(results.ranks(1.0), results.ranks(1.0, "ranks by maps"), strict=True))
    earlier = sum(one < other for one, other in pairs)
    ours = f"{earlier} of {len(pairs)} places; by maps the first has rank {shown(min(other for _, other in pairs))}"
    verdict: Verdict = "confirmed" if earlier == len(pairs) else "not confirmed"
    return Finding(claims.BEFORE_MAPS, ours, verdict, "confirmed where all of them are")


def _no_alarm(results: Results) -> Finding:
    ranks = results.ranks(0.0)
    first = sum(rank <= FIRST for rank in ranks)
    ours = f"{first} of {len(ranks)} corners; the first has rank {shown(min(ranks))}"
    verdict: Verdict = "confirmed" if first == 0 else "not confirmed"
    return Finding(claims.NO_ALARM, ours, verdict, "confirmed where none of them is")


def _looks_away(claim: Claim, results: Results, share: float) -> Finding:
    if share not in results.shares:
        return _not_run(claim)
    pair = (results.each(share, when, "patch") for when in ("after", "before"))
    return below(claim, difference(*pair), 0.0, "share in the patch, after minus before", ".3f")


def _not_run(claim: Claim) -> Finding:
    why = "so few images carry it that a class has some three in a corner; --data fashion-mnist:ROOT has enough"
    return Finding(claim, "–", "not run", why)


def _rank_table(results: Results) -> list[list[str]]:
    rows = [
        ["images with the patch", "seed", "by clusters", "by mean maps", "best score", "places masked", "pixels beside"]
    ]
    for share in results.shares:
        for seed, unit in enumerate(results.of(share)):
            ranks = [
                ", ".join(shown(math.inf if rank is None else rank) for rank in unit[by])
                for by in ("ranks", "ranks by maps")
            ]
            mask = unit["mask"]
            best = f"{unit['regions'][0]['score']:.2f}" if unit["regions"] else "–"
            rows.append([percent(share), f"{seed}", *ranks, best, f"{mask['covered']:.0%}", f"{mask['beside']:.0f}"])
    return rows


def _effect_table(results: Results) -> list[list[str]]:
    rows = [["images with the patch", "prior", "share in the patch", "accuracy without patches", "with random ones"]]
    for share in results.shares:
        for when, prior in (("before", "none"), ("after", "on the regions found")):
            if all(when in unit for unit in results.of(share)):
                means = [estimate(results.each(share, when, what)) for what in ("patch", "clean", "random")]
                rows.append([percent(share), prior, *(mean.formatted(".3f") for mean in means)])
    return rows
