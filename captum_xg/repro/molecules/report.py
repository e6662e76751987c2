"""The section of the report: claims with verdicts, tables, and what is to be read with them."""

from __future__ import annotations

import math
import statistics

from captum_xg._core.estimate import Estimate
from captum_xg.repro.molecules import claims
from captum_xg.repro.molecules.attributions import (
    ATOMS_ALONE,
    GRADIENT,
    INPUT_X_GRADIENT,
    INTEGRATED,
    METHODS,
    RANDOM,
    TRIED,
    X_GRADIENT,
)
from captum_xg.repro.molecules.results import Results
from captum_xg.repro.molecules.tasks import LOG_P
from captum_xg.repro.molecules.training import NETWORKS
from captum_xg.repro.section import Claim, Finding, Panel, Section, table
from captum_xg.repro.verdicts import above, below

TITLE = "Molecules: message passing of degree 1, and atoms whose contributions are known"
_AS_GOOD, _CLOSE, _RELATED = 0.05, 0.02, 0.5
_LABELS = {"gin": "gin, with biases", "xgin": "xgin, without"}
_NOTES = (
    "Errors are root mean squares over test molecules; ± is the standard error over seeds, intervals are over "
    "molecules and paired. Measured values have their mean over the training part taken away first, for both networks.",
    "So a network without biases predicts that mean for a molecule of no atoms, while its twin learns what to predict "
    "there: a constant beside F, learnt with it, would be free for both.",
    "The networks have seen the sums of contributions only; Crippen's are those of atoms, with those of their "
    "hydrogens. An atom has the sum of its features' attributions and half of what its bonds have. The gap is the mean "
    "of |their sum − (F(x) − F(0))|, in units of log P.",
    "|gradient| has no sign, so that a low correlation is no surprise; it is what is called saliency.",
)


def findings(results: Results) -> tuple[Finding, ...]:
    """Return a finding for each claim."""
    found = [_as_good(claim, results, task) for task, claim in claims.AS_GOOD.items()]
    if not results.correlations:
        others = [each for each in claims.CLAIMS if each not in claims.AS_GOOD.values()]
        return (*found, *(_not_run(each) for each in others))
    compared = "correlation of X-Gradient minus that of "
    return (
        *found,
        _exact(results),
        above(claims.TRUTH, results.correlations[X_GRADIENT], _RELATED, "correlation"),
        above(claims.INTEGRATED, results.lead[INTEGRATED], -_CLOSE, f"{compared}{INTEGRATED}"),
        above(claims.INPUT_X_GRADIENT, results.lead[INPUT_X_GRADIENT], 0, f"{compared}{INPUT_X_GRADIENT}"),
        above(claims.GRADIENT, results.lead[GRADIENT], 0, f"{compared}{GRADIENT}"),
        _complete(results),
        _steps(results),
    )


def report(
    results: Results, setting: str, command: str, picture: str, seconds: float, commits: tuple[str, ...]
) -> Section:
    """Return the section."""
    panels: list[Panel] = [table("Error on test molecules", _error_rows(results))]
    if results.correlations:
        panels.append(table("Attributions of atoms and their true contributions to log P", _correlation_rows(results)))
        panels.append(
            Panel(
                "Correlation of atoms' attributions with their true contributions",
                picture=picture,
                description="One bar for each method with its 95 % interval over molecules.",
            )
        )
    said, numbers = findings(results), _numbers(results)
    return Section("molecules", TITLE, setting, said, tuple(panels), _NOTES, command, seconds, commits, numbers)


def _as_good(claim: Claim, results: Results, task: str) -> Finding:
    if task not in results.errors:
        return _not_run(claim)
    return below(claim, results.errors[task].excess, _AS_GOOD, "error without biases / error of the twin − 1")


def _not_run(claim: Claim) -> Finding:
    return Finding(claim, "nothing", "not run", "it needs molecules: see --data and --prepare")


def _exact(results: Results) -> Finding:
    worst = max(results.distance)
    good = worst < 1e-6
    return Finding(
        claims.EXACT,
        f"largest difference over {len(results.distance)} seeds: {worst:.2g}",
        "confirmed" if good else "not confirmed",
        f"it is {'below' if good else 'not below'} 1e-6 (float64; step weights of IG are float32)",
    )


def _complete(results: Results) -> Finding:
    spread = results.errors[LOG_P].deviation
    ours, twins = (results.gaps[method] for method in (X_GRADIENT, INPUT_X_GRADIENT))
    good = ours.high < 1e-5 * spread and twins.low > 0.01 * spread
    told = f"mean gap of X-Gradient {ours.formatted('.2g')}, of {INPUT_X_GRADIENT} {twins.formatted('.2g')}"
    rule = "the one is below 1e-5 and the other above 1 %"
    said = rule if good else "not both hold: the one below 1e-5 and the other above 1 %"
    return Finding(
        claims.COMPLETE,
        f"{told}; standard deviation of log P {spread:.3g}",
        "confirmed" if good else "not confirmed",
        f"{said} of that, with their intervals",
    )


def _steps(results: Results) -> Finding:
    low = _quantile(results, 0.5)
    good = low is None or low >= 2
    return Finding(
        claims.STEPS,
        f"steps of Gauss–Legendre, of {', '.join(map(str, TRIED))}: {_steps_text(results)}",
        "confirmed" if good else "not confirmed",
        "the median is 2 or more" if good else "the median is 1",
    )


def _steps_text(results: Results) -> str:
    texts = [("median", _quantile(results, 0.5)), ("95 % quantile", _quantile(results, 0.95))]
    return ", ".join(f"{name} {'more than ' + str(TRIED[-1]) if n is None else f'{n:g}'}" for name, n in texts)


def _quantile(results: Results, share: float) -> float | None:
    """Return a quantile of steps, which is one of them; None where it is more than were tried."""
    ordered = sorted(math.inf if n is None else n for n in results.steps)
    found = ordered[math.ceil(share * len(ordered)) - 1]
    return None if math.isinf(found) else found


def _error_rows(results: Results) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("", "test molecules", "standard deviation", *_LABELS.values(), "without / with − 1 [95 %]")
    ]
    for task, errors in results.errors.items():
        means = [_plus_minus(*errors.mean(network)) for network in NETWORKS]
        rows.append((task, str(errors.test), f"{errors.deviation:.3g}", *means, errors.excess.formatted("+.1%")))
    return rows


def _correlation_rows(results: Results) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("", "network", "Pearson, all atoms [95 %]", "Spearman in a molecule [95 %]", "X-Gradient's lead [95 %]", "gap")
    ]
    for network, methods in METHODS.items():
        for method in methods:
            lead = results.lead[method].formatted("+.3f") if method in results.lead else ""
            both = (each[method].formatted(".3f") for each in (results.correlations, results.ranks))
            gap = "" if method in (ATOMS_ALONE, GRADIENT, RANDOM) else f"{results.gaps[method].value:.2g}"
            rows.append((method, network, *both, lead, gap))
    return rows


def _plus_minus(mean: float, error: float) -> str:
    return f"{mean:.3f}" if math.isnan(error) else f"{mean:.3f} ± {error:.3f}"


def _numbers(results: Results) -> dict[str, object]:
    def plain(found: Estimate) -> list[float]:
        return [found.value, found.low, found.high]

    known = [n for n in results.steps if n is not None]
    return {
        "errors": {
            task: {"by_seed": {n: list(e) for n, e in errors.by_seed.items()}, "excess": plain(errors.excess)}
            for task, errors in results.errors.items()
        },
        "correlations": {method: plain(each) for method, each in results.correlations.items()},
        "ranks": {method: plain(each) for method, each in results.ranks.items()},
        "gaps": {method: plain(each) for method, each in results.gaps.items()},
        "lead": {method: plain(each) for method, each in results.lead.items()},
        "distance": list(results.distance),
        "steps": {
            "median": _quantile(results, 0.5) if results.steps else None,
            "95 %": _quantile(results, 0.95) if results.steps else None,
            "mean of those that are enough": statistics.fmean(known) if known else None,
        },
        "task_of_attributions": LOG_P,
    }
