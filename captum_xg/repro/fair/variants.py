"""What is trained: an attribution with the Gini prior on it, with or without biases, per batch or per example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from captum_xg.repro.sparsity.protocol import Method
from captum_xg.repro.sparsity.training import Attribution, Over

LABELS: dict[Attribution, str] = {
    "none": "Unreg",
    "rrr": "RRR",
    "gradient": "Grad",
    "input_x_gradient": "Input×Gradient",
    "xgradient": "X-Gradient",
    "joint": "joint",
    "expected_gradients": "EG",
}


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        attribution: What the prior is on: ``input_x_gradient`` of networks with biases is ``xgradient`` without them;
            ``joint`` adds b·∂F/∂b of every bias as further features.
        bias: Whether the networks have biases.
        over: What the Gini coefficient is of: the batch-mean attribution, or that of each example.
        n_references: Of Expected Gradients, per example and step.
    """

    attribution: Attribution
    bias: bool
    over: Over = "batch"
    n_references: int = 0

    @property
    def name(self) -> str:
        """Its name in files and tables."""
        label = LABELS[self.attribution] + (f"({self.n_references})" if self.n_references else "")
        words = [label, "with biases" if self.bias else "without biases"]
        return ", ".join(words if self.attribution == "none" else [*words, f"Gini per {self.over}"])

    @property
    def method(self) -> Method:
        """The method of the sparsity experiment."""
        return Method(self.name, self.name, self.attribution, self.bias, self.n_references)

    def strengths(self, grid: Sequence[float]) -> tuple[float, ...]:
        """Return the strengths λ that it is trained with: those of the grid, 0 alone without a prior."""
        return (0.0,) if self.attribution == "none" else tuple(grid)


def variants(references: Sequence[int], *, few: bool = False) -> list[Variant]:
    """Return everything that is trained, cheap ones first.

    Args:
        references: The numbers for Expected Gradients.
        few: Per example only products, the gradient and EG(1): sorting takes most of the time there.
    """
    found = [Variant("none", bias) for bias in (True, False)]
    for over in get_args(Over):
        for bias in (True, False):
            product: Attribution = "input_x_gradient" if bias else "xgradient"
            found += [Variant(each, bias, over) for each in ("gradient", product)]
            if over == "batch" or not few:
                found.append(Variant("rrr", bias, over))
        if over == "batch" or not few:
            found.append(Variant("joint", True, over))
    found += [
        Variant("expected_gradients", bias, over, k)
        for k in references
        for over in get_args(Over)
        for bias in (True, False)
        if k == 1 or over == "batch" or not few
    ]
    return found
