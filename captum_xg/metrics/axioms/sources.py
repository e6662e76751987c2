"""Sources of cases: the zoo with small integers, or the user's model with the user's inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from captum_xg._core.function import ScalarFunction
from captum_xg._core.types import Target
from captum_xg.errors import InputError
from captum_xg.metrics.axioms.functions import Formula, Subject
from captum_xg.metrics.axioms.wrappers import inner

Kind = Literal["zero", "one", "set"]
"""What a method compares with: always zero, a baseline, or a set of baselines."""


class Source(Protocol):
    """What an axiom builds cases from; ``draw`` is Python's generator, or the one whose draws hypothesis shrinks."""

    def pick(self, draw: Random) -> tuple[Subject, Tensor, Tensor]:
        """Return a function, an input and references ``(K, *shape)``."""

    def companion(self, subject: Subject, x: Tensor, draw: Random) -> Subject:
        """Return another function of the same features."""

    def numbers(self, draw: Random, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return one number, shape ``(1,)``, for a feature of an input and ``count`` for the references."""


class ZooSource:
    """Functions in turn, with integers of −3 … 3 as inputs and −2 … 2 as baselines.

    Args:
        subjects: The functions, small ones first.
        kind: What the method compares with.
    """

    def __init__(self, subjects: Sequence[Subject], kind: Kind) -> None:
        self.subjects, self.kind = tuple(subjects), kind
        self._turn = 0

    def pick(self, draw: Random) -> tuple[Subject, Tensor, Tensor]:
        """Return the next function with random numbers."""
        subject = self.subjects[self._turn % len(self.subjects)]
        self._turn += 1
        count = draw.choice((2, 2, 3)) if self.kind == "set" else 1
        x = self._input(draw, subject)
        return subject, x, self._references(draw, subject, count)

    def companion(self, subject: Subject, x: Tensor, draw: Random) -> Subject:
        """Return any function of as many features."""
        return draw.choice([other for other in self.subjects if other.shape == subject.shape])

    def numbers(self, draw: Random, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return integers."""
        rest = [self._baseline(draw) for _ in range(count)]
        return like.new_tensor([float(draw.randint(1, 3))]), like.new_tensor(rest)

    def _input(self, draw: Random, subject: Subject) -> Tensor:
        return torch.tensor([float(draw.randint(-3, 3)) for _ in range(subject.shape[0])], dtype=torch.float64)

    def _references(self, draw: Random, subject: Subject, count: int) -> Tensor:
        rows = [[self._baseline(draw) for _ in range(subject.shape[0])] for _ in range(count)]
        return torch.tensor(rows, dtype=torch.float64)

    def _baseline(self, draw: Random) -> float:
        return 0.0 if self.kind == "zero" else float(draw.randint(-2, 2))


class ShrinkingSource(ZooSource):
    """The same, drawn so that what hypothesis shrinks first, which is what is drawn first, are function and baselines.

    A zero baseline is easier to follow than a zero input.
    """

    def pick(self, draw: Random) -> tuple[Subject, Tensor, Tensor]:
        """Return any function with random numbers."""
        subject = draw.choice(self.subjects)
        count = draw.choice((1, 2, 3)) if self.kind == "set" else 1
        references = self._references(draw, subject, count)
        return subject, self._input(draw, subject), references


class ModelSource:
    """The user's model, example by example, with the baselines that a method can take: all, the first, or zero.

    Args:
        subjects: The model with the target of each example.
        inputs: The examples, ``(N, *shape)``.
        references: The baselines, ``(K, *shape)``.
        kind: What the method compares with.
    """

    def __init__(self, subjects: tuple[Subject, ...], inputs: Tensor, references: Tensor, kind: Kind) -> None:
        self.subjects, self.inputs, self.kind = subjects, inputs.detach(), kind
        self.references = {"zero": torch.zeros_like(inputs[:1]), "one": references[:1], "set": references}[kind]
        self._turn = 0

    def pick(self, draw: Random) -> tuple[Subject, Tensor, Tensor]:
        """Return the next example."""
        i = self._turn % len(self.subjects)
        self._turn += 1
        return self.subjects[i], self.inputs[i], self.references

    def companion(self, subject: Subject, x: Tensor, draw: Random) -> Subject:
        """Return the model itself or a linear function."""
        return draw.choice((subject, inner(subject, x, draw.randrange(2**31))))

    def numbers(self, draw: Random, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return numbers of the size of the inputs."""
        size = float(self.inputs.abs().max()) or 1.0
        rest = [0.0 if self.kind == "zero" else draw.uniform(-size, size) for _ in range(count)]
        return like.new_tensor([draw.uniform(0.1, 1) * size]), like.new_tensor(rest)


class _OneExample(Formula):
    """One output of the user's model, with one example's target and additional arguments, whatever the input."""

    def __init__(self, model: Callable[..., object], function: ScalarFunction) -> None:
        bodies = [model] if isinstance(model, nn.Module) else []
        super().__init__(lambda x, *_: function.repeat(len(x))((x,)), *bodies)

    def __deepcopy__(self, memo: dict[int, object]) -> _OneExample:
        return self  # one's own model may be large, and is never copied


def model_subjects(
    model: Callable[..., object], inputs: Tensor, target: Target, additional_forward_args: object, where: str
) -> tuple[Subject, ...]:
    """Return the model as one function per example, with that example's target and additional arguments.

    Raises:
        TargetError: If the target does not fit the output.
        ForwardOutputError: If the output is not one number per example once a target is chosen.
    """
    function = ScalarFunction(model, additional_forward_args, target, where)
    with torch.no_grad():
        function((inputs.detach().clone(),))  # targets and outputs are checked before anything else
    n = len(inputs)
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", "forward_func")
    examples = [_OneExample(model, function.examples(i, i + 1, n)) for i in range(n)]
    return tuple(
        Subject(f"{name}(x), example {i}", each, tuple(inputs.shape[1:]), 1) for i, each in enumerate(examples)
    )


def model_references(baselines: Tensor | float | None, inputs: Tensor, where: str) -> Tensor:
    """Return the baselines as ``(K, *shape)``.

    Raises:
        InputError: If they do not fit the inputs.
    """
    if baselines is None or isinstance(baselines, (int, float)):
        return torch.full_like(inputs[:1], baselines or 0.0)
    if not isinstance(baselines, Tensor) or baselines.shape[1:] != inputs.shape[1:] or len(baselines) == 0:
        shape = f"shape {tuple(baselines.shape)}" if isinstance(baselines, Tensor) else type(baselines).__name__
        wanted = ", ".join(map(str, ("K", *inputs.shape[1:])))
        raise InputError(
            f"{where}: expected `baselines` to be a number or to have shape ({wanted}), K baselines like the inputs "
            f"that all go with every example, got {shape}. Pass None for zeros."
        )
    return baselines.detach().to(inputs)
