"""The section of a report: tables, findings, and what a reader has to know of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from captum_xg._core.estimate import MeanEstimate
from captum_xg.repro.estimate import difference, estimate
from captum_xg.repro.section import Panel, table
from captum_xg.repro.texts.decoys import CLEAN, CLEAN_X, NO_PRIOR, NO_PRIOR_X, Method
from captum_xg.repro.texts.networks import ARCHITECTURES
from captum_xg.repro.texts.results import INTEGRAL, RANKED, Results

GOALS = {"classes": "positive or negative", "rating": "the rating"}
_SCORES = (
    ("classes", "accuracy", "accuracy, %", 100.0, 1),
    ("rating", "rmse", "root mean squared error of the rating", 1.0, 3),
    ("rating", "correlation", "correlation with the rating", 1.0, 3),
)


def panels(results: Results) -> Iterator[Panel]:
    """Yield the tables."""
    yield _networks(results)
    known = "with what they contribute" if results.task.known else "with the valence that people give them"
    for goal, about in GOALS.items():
        n = len(results.task.words)
        title = f"Rank correlation of the attributions of {n} words to {about} {known} [95 % interval over words]"
        yield _words(results, goal, "", title)
        yield _words(results, goal, INTEGRAL, f"The same, minus that of {INTEGRAL} (paired)")
    yield _steps(results)
    for architecture in results.settings.decoy_networks:
        yield _decoys(results, architecture)


def _networks(results: Results) -> Panel:
    rows = [["", "network", "degree 1", "twin", "degree 1 − twin"]]
    for goal, score, label, scale, digits in _SCORES:
        for architecture in results.settings.networks:
            both = [[scale * v for v in results.tests(goal, architecture, score, x=x)] for x in (True, False)]
            gap = difference(*both)
            spec = f"+.{digits}f"
            head = label if architecture == results.settings.networks[0] else ""
            rows.append(
                [
                    head,
                    ARCHITECTURES[architecture],
                    *(_mean(estimate(each), digits) for each in both),
                    gap.formatted(spec),
                ]
            )
    seeds = results.settings.seeds
    return table(f"On test texts: mean ± standard error of {seeds} trainings, paired differences [95 % interval]", rows)


def _words(results: Results, goal: str, minus: str, title: str) -> Panel:
    found = {architecture: results.ranks(goal, architecture, minus=minus) for architecture in results.settings.networks}
    spec = "+.3f" if minus else ".3f"
    rows = [["attribution, network", *(ARCHITECTURES[each] for each in found)]]
    rows += [[label, *(each[label].formatted(spec) for each in found.values())] for label in RANKED if label != minus]
    return table(title, rows)


def _steps(results: Results) -> Panel:
    rows = [["scores of", "network", "median", "95 % of texts", "X-Gradient on degree 1"]]
    for goal, about in GOALS.items():
        for architecture in results.settings.networks:
            needed = results.steps(goal, architecture)
            rows.append([about, ARCHITECTURES[architecture], _quantile(needed, 0.5), _quantile(needed, 0.95), "1"])
    return table("Gradients that Integrated Gradients of the twins needs for an error of at most 1 %", rows)


def _decoys(results: Results, architecture: str) -> Panel:
    outcomes = results.decoys(architecture)
    rows = [["trained with", "λ", "test accuracy, %", "gain over no prior", "recovered", "attribution of the decoy, %"]]
    for method, outcome in outcomes.items():
        plain, clean = (outcomes[each] for each in references(method))
        test, base = ([100 * v for v in each.test] for each in (outcome, plain))
        lost = statistics.fmean(clean.test) - statistics.fmean(plain.test)
        won = statistics.fmean(outcome.test) - statistics.fmean(plain.test)
        rows.append(
            [
                method.label,
                f"{outcome.weight:g}{'!' * bool(outcome.edge)}" if method.has_prior else "",
                _mean(estimate(test), 1),
                difference(test, base).formatted("+.1f") if method.has_prior else "",
                f"{won / lost:.0%}" if method.has_prior and lost > 0 else "",
                f"{100 * statistics.fmean(outcome.share):.1f}" if outcome.share else "",
            ]
        )
    name = ARCHITECTURES[architecture]
    return table(f"A token that gives the label away in training, {name}: mean ± standard error", rows)


def references(method: Method) -> tuple[Method, Method]:
    """Return plain training of the same network on decoys, and on texts without."""
    return (NO_PRIOR, CLEAN) if method.bias else (NO_PRIOR_X, CLEAN_X)


def notes(results: Results) -> tuple[str, ...]:
    """Return what is to be read with the tables."""
    task, settings = results.task, results.settings
    known = (
        "The rating of a generated review is the sum of its words' contributions, so that the right attribution of "
        "each word is known. A bag of embeddings takes a mean, and cannot know how long a review is."
        if task.known
        else "People rated the words without the sentences: a word that people call positive may speak against a film "
        "(a promising start), and most words are rare in the training texts. 1 is out of reach for any method."
    )
    found = [
        known,
        "The network of best validation score among the epochs is kept. Attributions are of the score positive − "
        "negative, or of the predicted rating, at the embedded tokens, summed over the embedding; those of a word are "
        "the mean over all of its places in the test texts. Baseline: zero embeddings.",
        f"Steps are counted in float64 on {settings.steps_texts} test texts of each training, against "
        f"{settings.reference_steps} steps: the least number from which on the error, sum of absolute differences over "
        "sum of absolute attributions, stays at or below 1 %.",
        "In the transformer of degree 1 the norms scale all tokens by one size per text, so that words which say "
        "nothing carry a part of the score, too: a price of degree 1 that attributions show.",
        "Decoys: λ is chosen on validation texts whose decoys say nothing, by trainings that are not reported. The "
        "last column is the share of absolute attributions (Integrated Gradients, 32 steps) that is at the decoy. "
        "Recovered: of the accuracy that decoys cost the same network.",
    ]
    outcomes = [(a, o) for a in settings.decoy_networks for o in results.decoys(a).values()]
    edges = [f"{ARCHITECTURES[a]}, {o.method.label}" for a, o in outcomes if o.edge]
    diverged = [f"{ARCHITECTURES[a]}, {o.method.label}: {o.diverged}" for a, o in outcomes if o.diverged]
    if edges:
        found.append(f"(!) λ is at the edge of its grid, and a better one may lie beyond: {'; '.join(edges)}.")
    if diverged:
        found.append(f"Trainings that diverged, and count as chance: {'; '.join(diverged)}.")
    return tuple(found)


def _mean(found: MeanEstimate, digits: int) -> str:
    return f"{found.mean:.{digits}f} ± {found.standard_error:.{digits}f}"


def _quantile(needed: list[int | None], share: float) -> str:
    """Return the smallest number that is enough for a share of the texts."""
    order = sorted((float("inf") if n is None else float(n)) for n in needed)
    found = order[min(len(order) - 1, max(0, -(-int(1000 * share * len(order)) // 1000) - 1))]
    return "more than tried" if found == float("inf") else f"{found:.0f}"
