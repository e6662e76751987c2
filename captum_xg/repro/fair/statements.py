"""What the paper says about Figure 1: a paired difference, and the rule by which it holds, fails or is undecided."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from captum_xg._core.estimate import MeanEstimate
from captum_xg._core.text import displayed
from captum_xg.repro.estimate import difference, estimate
from captum_xg.repro.fair.choices import Choice
from captum_xg.repro.fair.trainings import Trainings
from captum_xg.repro.fair.variants import Variant
from captum_xg.repro.section import BEYOND, Claim

Outcome = Literal["holds", "fails", "undecided", "not run"]
NO_HARM = 0.01
"""A mean ROC-AUC that biases change by less is almost the same; the paper's differ by 0.002."""
MATCHES = 0.005
"""Expected Gradients match X-Gradient where they are surely not worse by more."""

Values = Callable[[Trainings, Choice], "list[float] | None"]


@dataclass(frozen=True)
class Statement:
    """A statement of the paper.

    Attributes:
        claim: It, and that it does not depend on our choices.
        short: What the difference is of, at the head of a column.
        values: The difference in each repetition; None if what it needs was not trained.
        rule: From the 95 % interval to an outcome.
        needs: What :attr:`values` need, for readers.
    """

    claim: Claim
    short: str
    values: Values
    rule: Callable[[MeanEstimate], Outcome]
    needs: str = ""


@displayed
@dataclass(frozen=True)
class Cell:
    """A statement under a choice.

    Attributes:
        outcome: What comes out.
        found: The paired difference; None if it was not run.
        same: Whether it is what comes out under the first choice, as nothing that the statement is about has changed.
    """

    outcome: Outcome
    found: MeanEstimate | None = None
    same: bool = False

    def __str__(self) -> str:
        """Return outcome and difference."""
        if self.found is None:
            return "–"
        return "(the same)" if self.same else f"{self.outcome}: {self.found.formatted('+.3f')}"


def judged(statement: Statement, trainings: Trainings, choice: Choice) -> Cell:
    """Return what comes out for a statement under a choice."""
    values = statement.values(trainings, choice)
    if values is None:
        return Cell("not run")
    found = estimate(values)
    return Cell(statement.rule(found), found)


def above(bound: float) -> Callable[[MeanEstimate], Outcome]:
    """Return the rule that a difference is above a bound: the whole interval is."""
    return lambda found: "holds" if found.low > bound else "fails" if found.high < bound else "undecided"


def almost_equal(margin: float) -> Callable[[MeanEstimate], Outcome]:
    """Return the rule that a difference is within a margin: the whole interval is."""

    def rule(found: MeanEstimate) -> Outcome:
        if -margin < found.low and found.high < margin:
            return "holds"
        return "fails" if found.low > margin or found.high < -margin else "undecided"

    return rule


def all_judged(statement: Statement, trainings: Trainings, chosen: Sequence[Choice]) -> list[Cell]:
    """Return what comes out for a statement under each choice, the first one being what others are the same as."""
    cells = [judged(statement, trainings, choice) for choice in chosen]
    first = cells[0]
    return [first, *(replace(c, same=c.found is not None and c.found == first.found) for c in cells[1:])]


def _minus(these: list[float], others: list[float]) -> list[float]:
    return [a - b for a, b in zip(these, others, strict=True)]


def _over(name: str, n_references: int = 0) -> Values:
    """Return X-Gradient minus a rival."""

    def values(trainings: Trainings, choice: Choice) -> list[float] | None:
        rival = choice.rival(name, n_references)  # type: ignore[arg-type]
        if rival not in trainings or choice.xgradient not in trainings:
            return None
        return _minus(choice.test(trainings, choice.xgradient), choice.test(trainings, rival))

    return values


def _references_over(*counts: int) -> Values:
    """Return Expected Gradients, the mean of those numbers of references that there are, minus X-Gradient."""

    def values(trainings: Trainings, choice: Choice) -> list[float] | None:
        found = [_over("expected_gradients", k)(trainings, choice) for k in counts]
        there = [each for each in found if each is not None]
        return [-math.fsum(each) / len(each) for each in zip(*there, strict=True)] if there else None

    return values


def _biases(trainings: Trainings, choice: Choice) -> list[float] | None:
    without, with_biases = (trainings.test(Variant("none", bias), choice.how) for bias in (False, True))
    return _minus(without, with_biases)


def _slope(trainings: Trainings, choice: Choice) -> list[float] | None:
    """Return by how much the ROC-AUC grows when the number of references doubles: the slope of a line over log₂ k."""
    rivals = [choice.rival("expected_gradients", k) for k in trainings.references]
    there = [rival for rival in rivals if rival in trainings]
    if len(there) < 2:
        return None
    steps = [math.log2(rival.n_references) for rival in there]
    middle = math.fsum(steps) / len(steps)
    spread = math.fsum((s - middle) ** 2 for s in steps)
    by_count = [choice.test(trainings, rival) for rival in there]
    weights = [(s - middle) / spread for s in steps]
    return [math.fsum(w * v for w, v in zip(weights, each, strict=True)) for each in zip(*by_count, strict=True)]


def _claim(key: str, says: str, quote: str, printed: str = "") -> Claim:
    return Claim(f"fair/{key}", BEYOND, f"Whatever the choices: {says}", printed, (quote,))


_SINGLE = "outperforms all other competing methods"
STATEMENTS = (
    Statement(
        _claim("unregularised", "X-Gradient outperforms training without a prior", _SINGLE),
        "XG − Unreg",
        _over("none"),
        above(0),
    ),
    Statement(_claim("rrr", "X-Gradient outperforms RRR", _SINGLE), "XG − RRR", _over("rrr"), above(0)),
    Statement(_claim("grad", "X-Gradient outperforms the gradient", _SINGLE), "XG − Grad", _over("gradient"), above(0)),
    Statement(
        _claim("eg1", "X-Gradient outperforms Expected Gradients with one reference", _SINGLE),
        "XG − EG(1)",
        _over("expected_gradients", 1),
        above(0),
    ),
    Statement(
        _claim(
            "biases",
            f"removing the biases of unregularised networks changes their ROC-AUC by less than {NO_HARM:g}",
            "removing the bias (Unreg w/o bias) has almost no effect on the average ROC-AUC of the method",
        ),
        "without biases − with",
        _biases,
        almost_equal(NO_HARM),
    ),
    Statement(
        _claim(
            "fewer",
            "16 references are not enough for Expected Gradients to match X-Gradient",
            "approximately 32 reference samples are needed",
            "32",
        ),
        "XG − EG(16)",
        _over("expected_gradients", 16),
        above(0),
        "EG(16)",
    ),
    Statement(
        _claim(
            "match",
            f"with 32 references Expected Gradients match X-Gradient, or lose less than {MATCHES:g}",
            "approximately 32 reference samples are needed",
            "32",
        ),
        "EG(32) − XG",
        _references_over(32),
        above(-MATCHES),
        "EG(32)",
    ),
    Statement(
        _claim(
            "more",
            "with more than 32 references Expected Gradients outperform X-Gradient",
            "When using more than 32 reference samples, Expected Gradients slightly outperform our method",
            "more than 32",
        ),
        "EG(> 32) − XG",
        _references_over(64, 128),
        above(0),
        "EG(64)",
    ),
    Statement(
        _claim(
            "samples",
            "more references improve Expected Gradients",
            "adding more samples improves the ROC-AUC when training with an EG attribution in the prior",
        ),
        "EG per doubling of k",
        _slope,
        above(0),
        "EG with two numbers of references",
    ),
)


def parts_of_the_difference(trainings: Trainings, choice: Choice) -> list[tuple[str, MeanEstimate]]:
    """Return X-Gradient without biases minus EG(1) with biases, as a sum of three differences of one thing each.

    X-Gradient is EG without biases, with exact integrals and with zero as its only reference. So from it to EG(1) with
    biases there are three steps: training examples as references (as near as many references come to their mean), one
    of them instead of many, and biases. Each has a λ of its own.
    """
    counts = [v.n_references for v in trainings.scores if v.over == choice.over and v.n_references and not v.bias]
    most = max(counts)
    steps = [
        Variant("xgradient", False, choice.over),
        Variant("expected_gradients", False, choice.over, most),
        Variant("expected_gradients", False, choice.over, 1),
        Variant("expected_gradients", True, choice.over, 1),
    ]
    tests = [trainings.test(step, choice.how) for step in steps]
    if most == 1:
        return [("XG without biases − EG(1) without biases", difference(tests[0], tests[2]))]
    names = (
        f"zero as the reference instead of training examples: XG − EG({most}) without biases",
        f"many references instead of one: EG({most}) − EG(1), both without biases",
        "no biases instead of biases: EG(1) without − EG(1) with",
    )
    found = [(name, difference(a, b)) for name, a, b in zip(names, tests, tests[1:], strict=False)]
    return [*found, ("sum: XG without biases − EG(1) with biases", difference(tests[0], tests[-1]))]
