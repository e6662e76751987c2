"""What the sparsity experiment prints and writes: its tables as text, as panels of a report, and all numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from captum_xg.datasets.nhanes import MortalityTable
    from captum_xg.repro.section import Panel
    from captum_xg.repro.sparsity.protocol import Experiment
    from captum_xg.repro.sparsity.results import Outcome

_REFERENCES = "Expected Gradients by references per example and step, with the λ of one reference"


def text(experiment: Experiment, left: Sequence[Outcome], right: Sequence[Outcome]) -> str:
    """Return everything that is printed after the description of the data."""
    from captum_xg.repro.estimate import estimate
    from captum_xg.repro.sparsity.results import strengths_table, table

    data, n = experiment.table, len(experiment.splits)
    baseline, ours = _baseline(left), xgradient_of(left)
    parts = [
        f"\n{n} repetitions, {experiment.epochs} epochs. Mean ± standard error [95 % interval]; "
        "differences are paired.",
        table(left, baseline, paper=data.is_the_papers),
    ]
    if right:
        parts += [f"\n{_REFERENCES}", table([*right, ours], ours, paper=data.is_the_papers)]
        parts.append(_first_as_good(right, ours))
    parts += ["\nMean validation / test ROC-AUC by λ, which is chosen by the former", strengths_table(left)]
    age = experiment.age_alone()
    if age is not None:
        parts.append(f"\nAge alone, without any training: test ROC-AUC {estimate(age)}")
    if not data.is_the_papers:
        parts.append(
            "\nThese are not the paper's data: its means (Unreg 0.71, EG (1) 0.75, XG 0.77) are not comparable."
        )
    return "\n".join(parts)


def content(experiment: Experiment, left: Sequence[Outcome], right: Sequence[Outcome]) -> dict[str, object]:
    """Return all numbers, as they stand in the file."""
    from captum_xg.repro.estimate import estimate
    from captum_xg.repro.sparsity.results import as_json

    data, age = experiment.table, experiment.age_alone()
    return {
        "data": {"source": data.source, "columns": data.names, "dropped": data.dropped, "notes": data.notes},
        "repetitions": len(experiment.splits),
        "epochs": experiment.epochs,
        "seed": experiment.seed,
        "age_alone": None if age is None else estimate(age).to_dict(),
        "methods": as_json(left, _baseline(left)),
        "references": as_json(right, xgradient_of(left)) if right else {},
    }


def panels(left: Sequence[Outcome], right: Sequence[Outcome]) -> tuple[Panel, ...]:
    """Return the tables of a report."""
    from captum_xg.repro.section import table

    title = "Mean test ROC-AUC at the λ that is best on validation data"
    found = [table(title, _rows(left, _baseline(left)))]
    ours = xgradient_of(left)
    return (*found, *([table(_REFERENCES, _rows([*right, ours], ours))] if right else []))


def _rows(outcomes: Sequence[Outcome], baseline: Outcome) -> list[list[str]]:
    from captum_xg.repro.estimate import difference, estimate

    found = [["trained with", "λ", "test ROC-AUC ± standard error", f"minus {baseline.method.label}"]]
    for each in outcomes:
        mean, gain = estimate(each.test), difference(each.test, baseline.test).signed()
        strength = f"{each.strength:g}" if each.method.has_prior else ""
        shown = f"{mean.mean:.4f} ± {mean.standard_error:.4f}"
        found.append([each.method.label, strength, shown, "" if each.method == baseline.method else gain])
    return found


def name(data: MortalityTable) -> str:
    """Return the first words of where data come from."""
    return data.source.split(":")[0].split(" (")[0]


def xgradient_of(left: Sequence[Outcome]) -> Outcome:
    """Return the outcome of X-Gradient."""
    from captum_xg.repro.sparsity.protocol import X_GRADIENT

    return next(each for each in left if each.method == X_GRADIENT)


def _baseline(left: Sequence[Outcome]) -> Outcome:
    from captum_xg.repro.sparsity.protocol import UNREGULARISED_WITHOUT_BIAS

    return next(each for each in left if each.method == UNREGULARISED_WITHOUT_BIAS)


def _first_as_good(right: Sequence[Outcome], xgradient: Outcome) -> str:
    from captum_xg.repro.estimate import estimate

    ours = estimate(xgradient.test).mean
    enough = [each.method.n_references for each in right if estimate(each.test).mean >= ours]
    if not enough:
        return f"The mean of X-Gradient is not reached with up to {right[-1].method.n_references} references."
    return f"The mean of X-Gradient is first reached with {enough[0]} reference(s)."
