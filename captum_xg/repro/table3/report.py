"""The tables of Table 3: all cells with intervals beside the printed numbers, and what became of the ordering."""

from __future__ import annotations

from collections.abc import Mapping

from captum_xg.repro.section import Panel, table
from captum_xg.repro.table3.maskings import Masking
from captum_xg.repro.table3.ordering import FATES, AllScores, fates, of_the_table
from captum_xg.repro.table3.printed import METHODS, METRICS, NETWORKS, printed
from captum_xg.repro.table3.scores import NAMES, Scores

_ARROWS = {metric: f"{metric} {'↑' if more else '↓'}" for metric, more in METRICS.items()}


def panels(scores: AllScores, maskings: Mapping[str, Masking]) -> list[Panel]:
    """Return all tables."""
    return [
        *(_cells(each, maskings) for each in scores.values()),
        _survival(scores, maskings),
        _reversals(scores, maskings),
    ]


def _cells(scores: Scores, maskings: Mapping[str, Masking]) -> Panel:
    rows = [["masked by", "method", *_ARROWS.values()]]
    for method in METHODS:
        numbers = printed(scores.network, method)
        rows.append(["as printed", method, *(f"{n:.2f}" for n in numbers.values())] if numbers else _na(method))
    for masking in maskings.values():
        for method in NAMES:
            if not scores.has(method):
                rows.append([masking.key, method, *["refuses"] * len(METRICS)])
                continue
            found = (scores.value(masking.key, metric, method) for metric in METRICS)
            rows.append([masking.key, method, *(each.formatted(".2f") for each in found)])
    title = (
        f"{scores.network}: areas with their 95 % intervals. KPM and KNM in units of the logit, KAM and RAM of top-1 "
        "accuracy in %; the blurred input is a control that knows nothing of the network"
    )
    return table(title, rows)


def _na(method: str) -> list[str]:
    return ["as printed", method, *["N/A"] * len(METRICS)]


def _survival(scores: AllScores, maskings: Mapping[str, Masking]) -> Panel:
    rows = [["network", "metric", "pairs", *maskings]]
    for network in NETWORKS:
        for metric in METRICS:
            told = of_the_table([network], [metric])
            found = [fates(told, scores, masking) for masking in maskings]
            cells = [" / ".join(str(len(each[fate])) for fate in FATES) for each in found]
            rows.append([network, _ARROWS[metric], str(len(told)), *cells])
    told = of_the_table()
    found = [fates(told, scores, masking) for masking in maskings]
    rows.append(["both", "all", str(len(told)), *(" / ".join(str(len(f[fate])) for fate in FATES) for f in found)])
    title = (
        "The printed ordering: pairs of methods that hold / are reversed / stay open, by the interval of their paired "
        "difference"
    )
    return table(title, rows)


def _reversals(scores: AllScores, maskings: Mapping[str, Masking]) -> Panel:
    rows = [["network", "metric", *maskings]]
    for network in NETWORKS:
        for metric in METRICS:
            told = of_the_table([network], [metric])
            found = [fates(told, scores, masking)["reversed"] for masking in maskings]
            rows.append(
                [
                    network,
                    _ARROWS[metric],
                    *(", ".join(f"{c.worse} > {c.better}" for c in each) or "–" for each in found),
                ]
            )
    return table("Reversed pairs: the method that is better here > the one that is better in print", rows)
