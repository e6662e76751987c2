"""Where cases come from: the zoo with small integers, or the user's model with the user's inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, Protocol

import torch
from torch import Tensor

from captum_xg.metrics.axioms.functions import Subject
from captum_xg.metrics.axioms.wrappers import inner

Kind = Literal["zero", "one", "set"]
"""What a method compares with: always zero, a baseline, or a set of baselines."""


class Source(Protocol):
    """What an axiom builds cases from."""

    kind: Kind

    def pick(self, draw: Random) -> tuple[Subject, Tensor, Tensor]:
        """Return a function, an input and references ``(K, *shape)``."""

    def companion(self, subject: Subject, x: Tensor, draw: Random) -> Subject:
        """Return another function of the same features."""

    def numbers(self, draw: Random, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return one number, shape ``(1,)``, for a feature of an input and ``count`` for the references."""


class ZooSource:
    """Functions in turn, with integers of −3 … 3 as inputs and −2 … 2 as baselines."""

    def __init__(self, subjects: Sequence[Subject], kind: Kind) -> None:
        self.subjects, self.kind = tuple(subjects), kind
        self._turn = 0

    def pick(self, draw: Random) -> tuple[Subject, Tensor, Tensor]:
        """Return the next function with random numbers."""
        subject = self.subjects[self._turn % len(self.subjects)]
        self._turn += 1
        features = subject.shape[0]
        count = draw.choice((2, 2, 3)) if self.kind == "set" else 1
        x = torch.tensor([float(draw.randint(-3, 3)) for _ in range(features)], dtype=torch.float64)
        rows = [[float(draw.randint(-2, 2)) for _ in range(features)] for _ in range(count)]
        references = torch.tensor(rows, dtype=torch.float64)
        return subject, x, references * 0 if self.kind == "zero" else references

    def companion(self, subject: Subject, x: Tensor, draw: Random) -> Subject:
        """Return any function of as many features."""
        return draw.choice([other for other in self.subjects if other.shape == subject.shape])

    def numbers(self, draw: Random, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return integers."""
        rest = [0.0 if self.kind == "zero" else float(draw.randint(-2, 2)) for _ in range(count)]
        return like.new_tensor([float(draw.randint(1, 3))]), like.new_tensor(rest)


@dataclass
class ModelSource:
    """The user's model, example by example, with the user's baselines.

    Attributes:
        subjects: The model with the target of each example.
        inputs: The examples, ``(N, *shape)``.
        references: The baselines, ``(K, *shape)``.
        kind: What the method compares with.
    """

    subjects: tuple[Subject, ...]
    inputs: Tensor
    references: Tensor
    kind: Kind
    turn: int = 0

    def pick(self, draw: Random) -> tuple[Subject, Tensor, Tensor]:
        """Return the next example."""
        i = self.turn % len(self.subjects)
        self.turn += 1
        return self.subjects[i], self.inputs[i], self.references

    def companion(self, subject: Subject, x: Tensor, draw: Random) -> Subject:
        """Return the model itself or a linear function."""
        return draw.choice((subject, inner(subject, x, draw.randrange(2**31))))

    def numbers(self, draw: Random, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return numbers of the size of the inputs."""
        size = float(self.inputs.abs().max()) or 1.0
        rest = [0.0 if self.kind == "zero" else draw.uniform(-size, size) for _ in range(count)]
        return like.new_tensor([draw.uniform(0.1, 1) * size]), like.new_tensor(rest)
