"""The tables and numbers of the decoy experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from captum_xg._core.estimate import Estimate
from captum_xg.repro.decoy.protocol import X_GRADIENT, Method, on_clean_images, without_prior
from captum_xg.repro.decoy.results import Outcome, choose, recovered, scores
from captum_xg.repro.estimate import difference, estimate

Outcomes = dict[Method, Outcome]

EXPLANATION = (
    "Test accuracy: on images whose decoys are random (clean images: without decoys); mean ± 95 % interval of the mean "
    "over seeds, each with its own decoys, initial weights and order of images. Differences are paired by seed, in "
    "percentage points. Recovered: (prior − no prior) / (clean − no prior) with the same network. In patch: share of "
    "the absolute Integrated Gradients of the true class that lies in the decoy, 2 % of the pixels. Step: milliseconds "
    "of the shortest of 50, and how many plain steps of the same network that is."
)

CHOICE = (
    "λ is chosen by accuracy on validation images with random decoys (marked *). Whoever knows where the decoys are "
    "can make such images by painting over them. Validation images with decoys as in training cannot choose it: what "
    "they would take is in the last column but one, and the last column is the test accuracy of both choices."
)


def accuracy_table(outcomes: Outcomes) -> list[list[str]]:
    """Return the header and one row for each method."""
    rows = [["trained with", "λ", "test accuracy %", "gain over no prior", "X-Gradient is better by", "recovered"]]
    rows[0] += ["in patch", "step ms", "× plain"]
    for outcome in outcomes.values():
        method = outcome.method
        plain, clean = outcomes[without_prior(method)], outcomes[on_clean_images(method)]
        test = outcome.values("test")
        prior = bool(method.attribution)
        rows.append(
            [
                method.label,
                (f"{outcome.weight:g}" + ("!" if outcome.at_the_edge else "")) if prior else "",
                percent(estimate(test)),
                points(difference(test, plain.values("test"))) if prior else "",
                points(difference(outcomes[X_GRADIENT].values("test"), test)) if method != X_GRADIENT else "",
                f"{recovered(outcome, plain, clean):.0%}" if prior else "",
                f"{estimate(outcome.values('patch_share')).mean:.1%}" if not method.clean else "",
                f"{1e3 * outcome.seconds:.2f}",
                f"{outcome.seconds / plain.seconds:.2f}" if prior else "",
            ]
        )
    return rows


def choice_table(outcomes: Outcomes) -> list[list[str]]:
    """Return the header and one row for each method with a prior: mean accuracies of the trainings that chose λ."""
    tried = [outcome for outcome in outcomes.values() if outcome.grid]
    weights = sorted(tried[0].grid)
    rows = [
        ["validation accuracy %, λ =", *(f"{w:g}" for w in weights), "confounded choice", "test: chosen, confounded"]
    ]
    for outcome in tried:
        cells = [_mean(outcome, weight, "validation") + "*" * (weight == outcome.weight) for weight in weights]
        wrong = outcome.confounded_weight
        test = f"{_mean(outcome, outcome.weight, 'test')}, {_mean(outcome, wrong, 'test')}"
        rows.append([outcome.method.label, *cells, f"{wrong:g}", test])
    return rows


def percent(found: Estimate) -> str:
    """Return a share and the reach of its interval as percentages."""
    return f"{100 * found.value:.2f} ± {100 * found.reach:.2f}"


def points(found: Estimate) -> str:
    """Return a difference of shares and the reach of its interval in percentage points."""
    return f"{100 * found.value:+.2f} ± {100 * found.reach:.2f}"


def _mean(outcome: Outcome, weight: float, score: str) -> str:
    runs = outcome.grid[weight]
    if any(run.scores is None for run in runs):
        return "diverged"
    values = scores(runs, score)
    return f"{100 * sum(values) / len(values):.1f}"


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    lines.insert(1, "─" * len(lines[0]))
    return "\n".join(lines)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(
        f"| {' | '.join(cell.replace('*', chr(92) + '*') for cell in row)} |" for row in [rows[0], rule, *rows[1:]]
    )


def notes(outcomes: Outcomes) -> list[str]:
    """Return what a reader of the tables must know besides."""
    edge = [outcome.method.label for outcome in outcomes.values() if outcome.at_the_edge]
    return (
        [f"! The chosen λ is at the edge of the grid: {', '.join(edge)}. A better one may lie outside."] if edge else []
    )


def as_json(outcomes: Outcomes) -> dict[str, Any]:
    """Return all numbers, by method."""
    content = {}
    for outcome in outcomes.values():
        method = outcome.method
        plain, clean = outcomes[without_prior(method)], outcomes[on_clean_images(method)]
        test = outcome.values("test")
        entry: dict[str, Any] = {
            "label": method.label,
            "bias": method.bias,
            "attribution": method.attribution or None,
            "options": method.options,
            "test_accuracy": estimate(test).to_dict(),
            "test_accuracy_minus_no_prior": difference(test, plain.values("test")).to_dict(),
            "x_gradient_minus_this": difference(outcomes[X_GRADIENT].values("test"), test).to_dict(),
            "patch_share": estimate(outcome.values("patch_share")).to_dict(),
            "seconds_per_step": outcome.seconds,
            "seconds_per_plain_step": outcome.seconds / plain.seconds,
            "runs": [asdict(run) for run in outcome.runs],
        }
        if outcome.grid:
            share = recovered(outcome, plain, clean)
            entry |= {
                "recovered": share if math.isfinite(share) else None,
                "weight": outcome.weight,
                "weight_at_the_edge_of_the_grid": outcome.at_the_edge,
                "weight_by_confounded_validation": choose(outcome.grid, lambda run: run.confounded),
                "selection": [asdict(run) for runs in outcome.grid.values() for run in runs],
            }
        content[method.key] = entry
    return content
