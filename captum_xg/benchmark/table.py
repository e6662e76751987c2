"""Tables of a benchmark: as text, in Markdown, in LaTeX and as a DataFrame."""

from __future__ import annotations

import importlib
import math
from typing import Any

from captum_xg._core.estimate import Estimate
from captum_xg._core.text import Table
from captum_xg.benchmark.findings import Findings, MethodResult, MetricInfo
from captum_xg.errors import OptionError

_ABSENT = "–"
_COSTS = ("gradients", "forwards", "ms", "MiB")
_MOST_LINES = 6


def parts(result: Findings) -> list[str | Table]:
    """Return the table, with notes below."""
    header, rows = _cells(result)
    return [Table([header, *rows], rule=True), "", *notes(result)]


def markdown(result: Findings) -> str:
    """Return the table in Markdown, with notes below."""
    header, rows = _cells(result)

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|:--|" + "--:|" * (len(header) - 1)
    listed = [f"* {note.strip()}".replace("\n", "\n  ") for note in notes(result)]
    return "\n".join([line(header), rule, *map(line, rows), "", *listed])


def latex(result: Findings) -> str:
    """Return a tabular for the package booktabs, with the notes as comments."""
    header, rows = _cells(result)

    def line(cells: list[str]) -> str:
        return "  " + " & ".join(map(_escaped, cells)) + r" \\"

    body = [line(row) for row in rows]
    comments = [f"% {part}" for note in notes(result) for part in note.splitlines()]
    return "\n".join(
        [
            *comments,
            r"\begin{tabular}{l" + "r" * (len(header) - 1) + "}",
            r"  \toprule",
            line(header),
            r"  \midrule",
            *body,
            r"  \bottomrule",
            r"\end{tabular}",
        ]
    )


def dataframe(result: Findings) -> Any:
    """Return a pandas DataFrame; see :meth:`captum_xg.benchmark.result.BenchmarkResult.to_dataframe`."""
    try:
        pd = importlib.import_module("pandas")
    except ImportError as error:
        raise OptionError(
            "BenchmarkResult.to_dataframe needs pandas, which is not installed. Install it (pip install pandas), or "
            "use to_dict()."
        ) from error
    rows = {}
    for method in result.methods.values():
        row: dict[str, float] = {}
        for name in result.metrics:
            found = method.estimates.get(name, Estimate(math.nan, math.nan, math.nan))
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        for cost in ("gradient_evaluations", "forward_passes", "seconds", "peak_memory"):
            value = None if method.cost is None else getattr(method.cost, cost)
            row[cost] = math.nan if value is None else float(value)
        rows[method.name] = {**row, "control": method.control, "refusal": method.refusal}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "method"
    return frame


def notes(result: Findings) -> list[str]:
    """Return the notes below the table."""
    found = [
        f"{result.n_examples} examples. In brackets: 95 % interval of {result.resamples} bootstrap resamples of the "
        "examples; it says nothing of other models or of other training runs."
        if result.n_examples > 1
        else "1 example, from which there are no intervals."
    ]
    legend = [f"{metric.short}: {metric.name}" for metric in result.metrics.values() if metric.short != metric.name]
    found += ["; ".join(legend) + "."] if legend else []
    if any(metric.higher_is_better is not None for metric in result.metrics.values()):
        found.append("↑: more is better; ↓: less is better.")
    if result.reference is not None:
        found.append(f"Attributions are compared with those of {result.reference}.")
    costs = [method.cost for method in result.methods.values() if method.cost is not None]
    found.append(
        "Per example: gradient evaluations and forward passes as counted, and milliseconds (median batch)."
        + (
            " Peak memory beyond what was in use before."
            if result.measured_memory
            else " Memory is not measured on a CPU."
        )
    )
    if any(cost.gradient_evaluations is None for cost in costs):
        found.append("Not counted (–): methods that run a model whose runs cannot be seen from outside.")
    found += [
        f"{method.name} refused: {_shortened(method.refusal)}" for method in result.methods.values() if method.refusal
    ]
    return found


def _cells(result: Findings) -> tuple[list[str], list[list[str]]]:
    metrics = list(result.metrics.values())
    measured = result.measured_memory
    header = ["method", *(metric.short + _arrow(metric) for metric in metrics), *_COSTS[: 4 if measured else 3]]
    return header, [_row(method, metrics, measured) for method in result.methods.values()]


def _row(method: MethodResult, metrics: list[MetricInfo], measured: bool) -> list[str]:
    name = f"{method.name} (control)" if method.control else method.name
    if method.cost is None:
        return [name, *(["refused"] * len(metrics)), *([_ABSENT] * (4 if measured else 3))]
    cost = method.cost
    counts = [_ABSENT if c is None else f"{c:.4g}" for c in (cost.gradient_evaluations, cost.forward_passes)]
    memory = [_ABSENT if cost.peak_memory is None else f"{cost.peak_memory / 2**20:.1f}"] if measured else []
    return [
        name,
        *(method.estimates[m.name].formatted() for m in metrics),
        *counts,
        f"{1000 * cost.seconds:.3g}",
        *memory,
    ]


def _arrow(metric: MetricInfo) -> str:
    return {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]


def _shortened(refusal: str | None) -> str:
    lines = (refusal or "").splitlines()
    more = (
        [f"  … ({len(lines) - _MOST_LINES} more lines in result.methods[…].refusal)"]
        if len(lines) > _MOST_LINES
        else []
    )
    return "\n".join([*lines[:_MOST_LINES], *more])


def _escaped(cell: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {c: "\\" + c for c in "&%$#_{}"}
    special |= {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "[": "{[}", "]": "{]}"}
    return "".join(special.get(character, character) for character in cell)
