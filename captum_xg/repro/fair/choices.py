"""The choices under which the paper's statements are tested: the paper's own, each changed in one thing, and all equal.

What must never happen: that a choice is made after looking at test scores. They are all here, and all are reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from captum_xg.repro.fair.trainings import Protocol, Trainings
from captum_xg.repro.fair.variants import LABELS, Variant
from captum_xg.repro.sparsity.training import Attribution, Over

PAPERS_LEAST = 0.01
"""The smallest λ of the paper's grid."""


@dataclass(frozen=True)
class Choice:
    """One way to set the comparison up.

    Attributes:
        name: In tables.
        how: How networks and λ are chosen.
        over: What the Gini coefficient is of.
        bias: Whether the methods that X-Gradient is compared with have biases.
        ours: What stands in X-Gradient's place; ``xgradient`` has no biases, the others have.
        own_strength: Whether every number of references has its own λ; else that of one reference, as in the paper.
    """

    name: str
    how: Protocol
    over: Over = "batch"
    bias: bool = True
    ours: Attribution = "xgradient"
    own_strength: bool = False

    @property
    def xgradient(self) -> Variant:
        """What stands in X-Gradient's place."""
        return Variant(self.ours, self.ours != "xgradient", self.over)

    @property
    def label(self) -> str:
        """What stands in X-Gradient's place, in tables."""
        return LABELS[self.ours]

    def rival(self, attribution: Attribution, n_references: int = 0) -> Variant:
        """Return a method that it is compared with."""
        over: Over = "batch" if attribution == "none" else self.over
        return Variant(attribution, self.bias, over, n_references)

    def test(self, trainings: Trainings, variant: Variant) -> list[float]:
        """Return the test ROC-AUC of each repetition."""
        if variant.n_references > 1 and not self.own_strength:
            one = replace(variant, n_references=1)
            return trainings.test(variant, self.how, trainings.strength(one, self.how))
        return trainings.test(variant, self.how)


def choices(grid: Sequence[float], epochs: Sequence[int], main: int) -> list[Choice]:
    """Return all choices.

    Args:
        grid: The strengths λ that everything was trained with.
        epochs: The numbers of epochs that there are scores of.
        main: That of the paper, one of them.
    """
    whole = Protocol(tuple(grid), main)
    papers = replace(whole, grid=tuple(s for s in grid if s >= PAPERS_LEAST))
    paper = Choice("as in the paper", papers)
    changed = [replace(paper, name="smaller λ, too", how=whole)] if papers.grid != whole.grid else []
    changed += [
        replace(paper, name="own λ for every k", own_strength=True),
        replace(paper, name="own λ for every split", own_strength=True, how=replace(papers, by_split=True)),
        replace(paper, name="Gini per example", over="example"),
        replace(paper, name="no biases anywhere", bias=False),
        replace(paper, name="biases everywhere, Input×Gradient for XG", ours="input_x_gradient"),
        replace(paper, name="biases everywhere, joint for XG", ours="joint"),
        *(replace(paper, name=f"{n} epochs", how=replace(papers, epochs=n)) for n in epochs if n != main),
        replace(paper, name="after the last epoch", how=replace(papers, when="last")),
    ]
    equal = replace(paper, how=whole, bias=False, own_strength=True)
    return [
        paper,
        *changed,
        replace(equal, name="equal: no biases, all λ, own λ for every k"),
        replace(equal, name="equal, and Gini per example", over="example"),
    ]
