"""Tables and numbers of the decoy experiment."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from captum_xg._core.estimate import MeanEstimate
from captum_xg._core.text import Table
from captum_xg.repro.decoy.protocol import X_GRADIENT, Method, on_clean_images, without_prior
from captum_xg.repro.decoy.results import Outcome, choose, recovered, scores
from captum_xg.repro.estimate import difference, estimate

Outcomes = dict[Method, Outcome]
Rows = Sequence[Sequence[str]]

EXPLANATION = (
    "Test accuracy: on images whose decoys are random (clean images: without decoys); mean ± 95 % interval of the mean "
    "over seeds, each with its own decoys, initial weights and order of images. Differences are paired by seed, in "
    "percentage points. Recovered: (prior − no prior) / (clean − no prior) with the same network. In patch: share of "
    "the absolute Integrated Gradients of the true class that lies in the decoy, 2 % of the pixels. Step: milliseconds "
    "of the shortest of 50, and how many plain steps of the same network that is."
)

CHOICE = (
    "λ is chosen by accuracy on validation images with random decoys (marked *). Anyone who knows where the decoys are "
    "can make such images by painting over them. Validation images with decoys as in training cannot choose it: what "
    "they would take is in the last column but one, and the last column is the test accuracy of both choices."
)

_HEADER = (
    *("trained with", "λ", "test accuracy %", "gain over no prior", "X-Gradient is better by", "recovered"),
    *("in patch", "step ms", "× plain"),
)


def documents(about: str, outcomes: Outcomes) -> tuple[str, str]:
    """Return all tables with what a reader must know of them, as text and in Markdown."""
    accuracies, choice = accuracy_table(outcomes), choice_table(outcomes)
    edge = [outcome.method.label for outcome in outcomes.values() if outcome.at_the_edge]
    note = [f"! The chosen λ is at the edge of the grid: {', '.join(edge)}. A better one may lie outside."]
    notes = note if edge else []
    text, markdown = (
        "\n\n".join([about, form(accuracies), *notes, EXPLANATION, form(choice), CHOICE])
        for form in (as_text, as_markdown)
    )
    return text, markdown.replace("(marked *)", r"(marked \*)") + "\n"


def accuracy_table(outcomes: Outcomes) -> list[list[str]]:
    """Return the header and one row for each method."""
    rows = [list(_HEADER)]
    for outcome, plain, clean in _with_references(outcomes):
        method, test = outcome.method, outcome.values("test")
        prior = method.has_prior
        rows.append(
            [
                method.label,
                (f"{outcome.weight:g}" + ("!" if outcome.at_the_edge else "")) if prior else "",
                percent(estimate(test)),
                percent(difference(test, plain.values("test")), sign="+") if prior else "",
                percent(difference(outcomes[X_GRADIENT].values("test"), test), sign="+")
                if method != X_GRADIENT
                else "",
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
    shown = [f"{weight:g}" for weight in weights]
    rows = [["validation accuracy %, λ =", *shown, "confounded choice", "test: chosen, confounded"]]
    for outcome in tried:
        cells = [_mean(outcome, weight, "validation") + "*" * (weight == outcome.weight) for weight in weights]
        wrong = outcome.confounded_weight
        test = f"{_mean(outcome, outcome.weight, 'test')}, {_mean(outcome, wrong, 'test')}"
        rows.append([outcome.method.label, *cells, f"{wrong:g}", test])
    return rows


def percent(found: MeanEstimate, sign: str = "") -> str:
    """Return a share, or a difference of shares with its sign, and the reach of its interval as percentages."""
    return f"{100 * found.mean:{sign}.2f} ± {100 * found.reach:.2f}"


def _mean(outcome: Outcome, weight: float, score: str) -> str:
    runs = outcome.grid[weight]
    if any(run.scores is None for run in runs):
        return "diverged"
    return f"{100 * statistics.fmean(scores(runs, score)):.1f}"


def as_text(rows: Rows) -> str:
    """Return a table in columns."""
    return str(Table(rows, rule=True))


def as_markdown(rows: Rows) -> str:
    """Return a table in Markdown."""
    lines = [rows[0], ["---", *["---:"] * (len(rows[0]) - 1)], *rows[1:]]
    return "\n".join(f"| {' | '.join(cell.replace('*', chr(92) + '*') for cell in row)} |" for row in lines)


def as_json(outcomes: Outcomes) -> dict[str, object]:
    """Return all numbers, by method."""
    content: dict[str, object] = {}
    for outcome, plain, clean in _with_references(outcomes):
        method, test = outcome.method, outcome.values("test")
        entry = {
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


def _with_references(outcomes: Outcomes) -> Iterator[tuple[Outcome, Outcome, Outcome]]:
    """Yield each outcome with those of the same network without a prior, on decoys and on clean images."""
    for outcome in outcomes.values():
        method = outcome.method
        yield outcome, outcomes[without_prior(method)], outcomes[on_clean_images(method)]
