"""Outcomes of the sparsity experiment: chosen λ, means with their uncertainty, tables and JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from captum_xg._core.text import Table, displayed
from captum_xg.repro.estimate import difference, estimate
from captum_xg.repro.experiment import at_the_edge, best_strength
from captum_xg.repro.sparsity.protocol import Method, Result

# Mean test ROC-AUC over 200 repetitions on the paper's data, from the result files released with it, where they were.
PAPER = {
    "unregularised": 0.7077,
    "unregularised_nobias": 0.7056,
    "xgradient_nobias": 0.7673,
    "eg1": 0.7486,
    "eg2": 0.7518,
    "eg4": 0.7603,
    "eg8": 0.7607,
    "eg16": 0.7640,
    "eg32": 0.7679,
    "eg64": 0.7687,
    "eg128": 0.7722,
}
PAPER_STRENGTHS = {"rrr": 0.1, "gradient": 0.1, "xgradient_nobias": 1.0, "eg1": 1.0}

_NOTES = {
    "": "",
    "lower": "lower edge of the grid: the less of the prior, the better",
    "upper": "upper edge of the grid: a larger one may be better",
}


@displayed
@dataclass(frozen=True)
class Outcome:
    """A method at every strength that was tried.

    Attributes:
        method: The method.
        strength: The chosen λ.
        runs: Results by λ, each in the order of repetitions.
        chosen_by: Why that λ.
    """

    method: Method
    strength: float
    runs: Mapping[float, Sequence[Result]]
    chosen_by: str

    @property
    def test(self) -> list[float]:
        """The test ROC-AUC of each repetition at the chosen λ."""
        return [result.test_auc for result in self.runs[self.strength]]

    @property
    def note(self) -> str:
        """What to say of the chosen λ."""
        return _NOTES[at_the_edge(self.runs, self.strength)]

    @property
    def seconds_per_network(self) -> dict[str, float]:
        """By device, mean training time of one network per repetition, at the chosen λ, in seconds."""
        devices: dict[str, list[float]] = {}
        for result in self.runs[self.strength]:
            devices.setdefault(result.device, []).append(result.seconds)
        return {device: statistics.fmean(seconds) for device, seconds in devices.items()}


def chosen(method: Method, runs: Mapping[float, Sequence[Result]]) -> Outcome:
    """Return a method at the λ with the highest mean validation ROC-AUC; of equal ones the smallest."""
    best, _ = best_strength(runs, lambda result: result.valid_auc)
    return Outcome(method, best, runs, "mean validation ROC-AUC")


def table(outcomes: Sequence[Outcome], baseline: Outcome, *, paper: bool) -> str:
    """Return test results as text, one line per method, with paired differences to a baseline.

    With ``paper`` the data are the paper's, so that its numbers belong beside these.
    """
    rows = [["method", "λ", "test ROC-AUC", f"minus {baseline.method.label}", *["paper"] * paper, ""]]
    for each in outcomes:
        gain = "" if each.method == baseline.method else difference(each.test, baseline.test).signed()
        number = PAPER.get(each.method.key)
        papers = ["–" if number is None else f"{number:.4f}"] * paper
        strength = f"{each.strength:g}" if each.method.has_prior else ""
        note = f"({each.note})" if each.note else ""
        rows.append([each.method.label, strength, str(estimate(each.test)), gain, *papers, note])
    # Notes are long: flush left, as text after the table.
    lines = str(Table([row[:-1] for row in rows])).split("\n")
    return "\n".join(f"{line}   {row[-1]}".rstrip() for line, row in zip(lines, rows, strict=True))


def strengths_table(outcomes: Sequence[Outcome]) -> str:
    """Return mean validation and test ROC-AUC for every λ that was tried, one line per method."""
    tried = [each for each in outcomes if len(each.runs) > 1]
    if not tried:
        return ""
    strengths = sorted(tried[0].runs)
    rows = [["λ", *(f"{strength:g}" for strength in strengths)]]
    for each in tried:
        means = (
            [statistics.fmean(getattr(r, score) for r in each.runs[strength]) for score in ("valid_auc", "test_auc")]
            for strength in strengths
        )
        rows.append([each.method.label, *(f"{valid:.4f} / {test:.4f}" for valid, test in means)])
    return str(Table(rows))


def as_json(outcomes: Sequence[Outcome], baseline: Outcome) -> dict[str, object]:
    """Return all numbers, down to those of each repetition."""
    return {
        each.method.key: {
            "label": each.method.label,
            "references": each.method.n_references,
            "strength": each.strength,
            "strength_chosen_by": each.chosen_by,
            "note": each.note,
            "test_auc": estimate(each.test).to_dict(),
            "difference_to_" + baseline.method.key: difference(each.test, baseline.test).to_dict(),
            "seconds_per_network": each.seconds_per_network,
            "paper_test_auc": PAPER.get(each.method.key),
            "paper_strength": PAPER_STRENGTHS.get(each.method.key),
            "runs": {f"{strength:g}": [vars(r) for r in runs] for strength, runs in each.runs.items()},
        }
        for each in outcomes
    }
