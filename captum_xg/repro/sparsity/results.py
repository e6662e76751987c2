"""What the runs of the sparsity experiment come to: chosen strengths, means with their uncertainty, and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captum_xg._core.text import displayed
from captum_xg.repro.estimate import difference, estimate
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
        """Return the test ROC-AUC of each repetition at the chosen λ."""
        return [result.test_auc for result in self.runs[self.strength]]

    @property
    def note(self) -> str:
        """Return what to say of the chosen λ."""
        if len(self.runs) > 1 and self.strength == min(self.runs):
            return "lower edge of the grid: the less of the prior, the better"
        if len(self.runs) > 1 and self.strength == max(self.runs):
            return "upper edge of the grid: a larger one may be better"
        return ""

    @property
    def seconds_per_network(self) -> dict[str, float]:
        """Return by device the training time of one network per repetition, at the chosen λ, in seconds."""
        devices: dict[str, list[float]] = {}
        for result in self.runs[self.strength]:
            devices.setdefault(result.device, []).append(result.seconds)
        return {device: float(np.mean(seconds)) for device, seconds in devices.items()}


def chosen(method: Method, runs: Mapping[float, Sequence[Result]]) -> Outcome:
    """Return a method at the λ with the highest mean validation ROC-AUC; of equal ones the smallest."""
    best = max(sorted(runs), key=lambda strength: float(np.mean([r.valid_auc for r in runs[strength]])))
    return Outcome(method, best, runs, "mean validation ROC-AUC")


def table(outcomes: Sequence[Outcome], baseline: Outcome, *, paper: bool) -> str:
    """Return test results as text, one line per method, with paired differences to a baseline.

    Args:
        outcomes: The methods.
        baseline: What they are compared with.
        paper: Whether the data are the paper's, so that its numbers belong beside these.
    """
    head = f"{'method':<15} {'λ':>7}  {'test ROC-AUC':<34}  {'minus ' + baseline.method.label:<27}"
    lines = [head + ("    paper" if paper else "")]
    for each in outcomes:
        strength = "" if each.method.attribution == "none" else f"{each.strength:g}"
        same = each.method == baseline.method
        gain = "" if same else difference(each.test, baseline.test).signed()
        line = f"{each.method.label:<15} {strength:>7}  {estimate(each.test)!s:<34}  {gain:<27}"
        if paper:
            number = PAPER.get(each.method.key)
            line += f"   {number:.4f}" if number is not None else "        –"
        lines.append(line.rstrip() + (f"   ({each.note})" if each.note else ""))
    return "\n".join(lines)


def strengths_table(outcomes: Sequence[Outcome]) -> str:
    """Return mean validation and test ROC-AUC for every λ that was tried, one line per method."""
    tried = [each for each in outcomes if len(each.runs) > 1]
    if not tried:
        return ""
    strengths = sorted(tried[0].runs)
    lines = [f"{'λ':<15}" + "".join(f"{strength:>16g}" for strength in strengths)]
    for each in tried:
        cells = (
            f"{np.mean([r.valid_auc for r in each.runs[s]]):.4f} / {np.mean([r.test_auc for r in each.runs[s]]):.4f}"
            for s in strengths
        )
        lines.append(f"{each.method.label:<15}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def as_json(outcomes: Sequence[Outcome], baseline: Outcome) -> dict[str, Any]:
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
