"""Trainings of one variant: all λ and all numbers of epochs of some repetitions from one stack of networks.

A repetition has one split, one set of first weights and one stream of references, whatever the variant, the λ and the
number of epochs: so everything that is compared is paired. That the networks of all λ are in one stack only saves time,
as references are drawn once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg.repro.fair.variants import Variant
from captum_xg.repro.sparsity.networks import Stack, network, stacked
from captum_xg.repro.sparsity.protocol import Experiment
from captum_xg.repro.sparsity.roc_auc import roc_auc
from captum_xg.repro.sparsity.training import References, Samples, Trained, stages

Scores = dict[str, dict[str, list[list[float]]]]
"""Epochs → "best" or "last" → for each repetition the validation and the test ROC-AUC."""


class RepeatedReferences(References):
    """The same references for the networks of every λ: repetitions 0 … R − 1, and again, for each λ."""

    def __init__(self, drawn: References, times: int, device: torch.device) -> None:
        self.drawn, self.times, self.device = drawn, times, device

    def draw(self) -> tuple[Tensor, Tensor]:
        """Return rows and α of all networks, on their device."""
        rows, alphas = self.drawn.draw()
        there = rows.to(self.device), alphas.float().to(self.device)
        return there[0].repeat(self.times, 1, 1), there[1].repeat(self.times, 1, 1)


@dataclass(frozen=True)
class Bench:
    """An experiment with what its trainings have in common, made once.

    Attributes:
        experiment: Data, splits, seed, device and widths.
        grid: The strengths λ to choose from, the same for every variant.
        epochs: Increasing numbers of epochs; the networks of fewer are those of more on the way.
    """

    experiment: Experiment
    grid: tuple[float, ...]
    epochs: tuple[int, ...]
    _networks: dict[tuple[int, bool], nn.Sequential] = field(default_factory=dict, repr=False)
    _tests: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def measure(self, variant: Variant, repetitions: Sequence[int]) -> dict[str, Any]:
        """Return λ → :data:`Scores` of one variant."""
        strengths = variant.strengths(self.grid)
        found: dict[str, Scores] = {f"{strength:g}": {} for strength in strengths}
        # A few repetitions at a time, for a bounded memory; each with the networks of all λ.
        size = max(1, self.experiment.chunk(variant.method) // len(strengths))
        for start in range(0, len(repetitions), size):
            some = repetitions[start : start + size]
            for epochs, trained in zip(self.epochs, self._stages(variant, strengths, some), strict=True):
                self._add(found, epochs, trained, some)
        return found

    def _stages(self, variant: Variant, strengths: Sequence[float], repetitions: Sequence[int]) -> Any:
        experiment, times, device = self.experiment, len(strengths), self.experiment.device
        first = stacked([self._network(i, variant.bias) for i in repetitions], device)
        references = experiment.references(variant.method, repetitions)
        return stages(
            Stack(*([_repeated(t, times).requires_grad_() for t in part] for part in (first.weights, first.biases))),
            Samples(*(_repeated(t, times) for t in experiment.samples(repetitions))),
            self.epochs,
            attribution=variant.attribution,
            strength=torch.tensor(strengths, device=device).repeat_interleave(len(repetitions)),
            references=None if references is None else RepeatedReferences(references, times, device),
            over=variant.over,
        )

    @torch.no_grad()
    def _add(self, found: dict[str, Scores], epochs: int, trained: Trained, repetitions: Sequence[int]) -> None:
        """Add the scores after some epochs: of the epoch with the best validation ROC-AUC, and of the last one."""
        valid = self.experiment.samples(repetitions)
        n = len(repetitions)
        for place, repetition in enumerate(repetitions):
            inputs, labels = self._test(repetition)
            for when, stack in (("best", trained.best), ("last", trained.last)):
                own = Stack([w[place::n] for w in stack.weights], [b[place::n] for b in stack.biases])
                tests = _aucs(own, inputs, labels)
                if when == "best":
                    valids = trained.valid_auc[place::n].tolist()
                else:
                    valids = _aucs(own, valid.valid[place], valid.valid_labels[place])
                for scores, pair in zip(found.values(), zip(valids, tests, strict=True), strict=True):
                    scores.setdefault(str(epochs), {}).setdefault(when, []).append(list(pair))

    def _network(self, repetition: int, bias: bool) -> nn.Sequential:
        key = (repetition, bias)
        if key not in self._networks:
            width, seed = self.experiment.table.features.shape[1], self.experiment.seed + repetition
            self._networks[key] = network(width, bias=bias, seed=seed, hidden=self.experiment.hidden)
        return self._networks[key]

    def _test(self, repetition: int) -> tuple[Tensor, Tensor]:
        if repetition not in self._tests:
            self._tests[repetition] = self.experiment.test_set(repetition)
        return self._tests[repetition]


def _repeated(tensor: Tensor, times: int) -> Tensor:
    return tensor.detach().repeat(times, *(1 for _ in tensor.shape[1:]))


def _aucs(stack: Stack, inputs: Tensor, labels: Tensor) -> list[float]:
    """Return the ROC-AUC of every network of a stack on the same examples."""
    n = len(stack.weights[0])
    scores = stack.logits(inputs.expand(n, *inputs.shape))
    found: list[float] = roc_auc(scores, labels.expand(n, -1)).tolist()
    return found
