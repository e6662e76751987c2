"""One case: functions, an input and references; whether it counts; and how far an estimate may be off on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from captum_xg.metrics.axioms.functions import Subject

# Points inside of the path that no small number lands on.
_GENERIC = (0.0713, 0.2917, 0.4969, 0.7331, 0.9377)
_PATH = 65
_STEP = 2.0**-17


@dataclass(frozen=True, eq=False)
class Query:
    """One attribution that a case asks for: A(F, x, x').

    Attributes:
        subject: F.
        x: The input, of F's shape.
        references: The baselines x', shape ``(K, *shape)``; the mean over them is taken where a method takes a set.
    """

    subject: Subject
    x: Tensor
    references: Tensor

    def output(self, x: Tensor) -> Tensor:
        """Return F of a batch, shape ``(N,)``, without gradients."""
        with torch.no_grad():
            output: Tensor = self.subject.module(x.clone()).detach()
        return output

    @cached_property
    def change(self) -> float:
        """F(x) − mean F(x')."""
        return float(self.output(self.x.unsqueeze(0)) - self.output(self.references).mean())

    @cached_property
    def level(self) -> float:
        """The size of the numbers that F(x) and F(x') are: what rounding is relative to."""
        return float(torch.cat((self.output(self.x.unsqueeze(0)), self.output(self.references))).abs().max())

    def gradients(self, points: Tensor) -> Tensor:
        """Return ∇F at a batch of points, flat: shape ``(N, D)``."""
        with torch.enable_grad():
            leaf = points.detach().clone().requires_grad_()
            output = self.subject.module(leaf)
            if not output.requires_grad:
                return torch.zeros_like(leaf).flatten(1)
            (gradient,) = torch.autograd.grad(output.sum(), leaf, allow_unused=True)
        return torch.zeros_like(leaf).flatten(1) if gradient is None else gradient.flatten(1)

    @cached_property
    def integrand(self) -> Tensor:
        """(x − x')·∂F at points between each reference and x: shape ``(K, points, D)``."""
        alphas = ((torch.arange(_PATH, dtype=torch.float64) + 0.371) / _PATH).to(self.x)
        differences = self.x - self.references
        shape = (1, _PATH, *[1] * self.x.dim())
        points = self.references.unsqueeze(1) + alphas.reshape(shape) * differences.unsqueeze(1)
        gradients = torch.cat([self.gradients(part) for part in torch.split(points.reshape(-1, *self.x.shape), _PATH)])
        return gradients.reshape(len(self.references), _PATH, -1) * differences.flatten(1).unsqueeze(1)

    @cached_property
    def switches(self) -> Tensor:
        """F's change when a feature goes from x' to x, its range over settings of the others: shape ``(D,)``.

        All settings of few features, some of more; zero for very many, for which methods that switch features one by
        one are judged too strictly.
        """
        features = self.x.numel()
        if features > 64:
            return torch.zeros_like(self.x.flatten())
        masks = self._settings(features).to(self.x.device)
        flat, references = self.x.flatten(), self.references.flatten(1)
        ranges = []
        for i in range(features):
            pairs = torch.cat((masks, masks))
            pairs[: len(masks), i], pairs[len(masks) :, i] = True, False
            points = torch.where(pairs.unsqueeze(0), flat, references.unsqueeze(1))
            values = self.output(points.reshape(-1, *self.x.shape)).reshape(len(references), 2, -1)
            change = values[:, 0] - values[:, 1]
            ranges.append(change.max() - change.min())
        return torch.stack(ranges)

    @staticmethod
    def _settings(features: int) -> Tensor:
        if features <= 5:
            return torch.tensor([[code >> i & 1 for i in range(features)] for code in range(2**features)]).bool()
        return torch.rand(32, features, generator=torch.Generator().manual_seed(0)) < 0.5

    @cached_property
    def differentiable(self) -> bool:
        """Whether autograd's gradient is F's gradient at x and at points between it and the references.

        The axioms speak of derivatives that exist; at a kink autograd hands out a convention.
        """
        x, references = self.x.unsqueeze(0), self.references
        between = [references + alpha * (x - references) for alpha in _GENERIC]
        points = torch.cat((x, *between)).flatten(1)
        features = points.shape[1]
        directions = torch.cat((torch.eye(features), torch.linspace(0.3, 1.1, features).unsqueeze(0))).to(points)
        gradients = self.gradients(points.reshape(-1, *self.x.shape))
        steps = torch.cat((directions, -directions)) * _STEP
        moved = (points.unsqueeze(1) + steps).reshape(-1, *self.x.shape)
        here = self.output(points.reshape(-1, *self.x.shape))
        change = self.output(moved).reshape(len(points), -1) - here.unsqueeze(1)
        error = (change - gradients @ steps.T).abs().amax(1)
        allowed = 1e-3 * _STEP * (1 + gradients.abs().amax(1))
        return bool((error <= allowed).all()) and bool(gradients.isfinite().all())


@dataclass(frozen=True, eq=False)
class Case:
    """What an axiom is tried on.

    Attributes:
        subjects: The functions: F, or F and G.
        x: The input.
        references: The baselines, shape ``(K, *shape)``.
        features: Positions that the axiom speaks of: the one that differs or is unused, or the symmetric pair.
        numbers: Its coefficients: (a, b) of linearity, (α,) of homogeneity.
    """

    subjects: tuple[Subject, ...]
    x: Tensor
    references: Tensor
    features: tuple[int, ...] = ()
    numbers: tuple[float, ...] = ()

    @property
    def weight(self) -> tuple[float, ...]:
        """How small this case is, to be compared with others: functions first, then numbers."""
        entries = torch.cat((self.x.flatten(), self.references.flatten()))
        coefficients = sum(abs(c) + 3 * (c != round(c)) + 3 * (c <= 0) for c in self.numbers)
        return (
            float(sum(subject.size for subject in self.subjects)),
            float(not bool((self.x != self.references).any())),  # nothing to distribute: true, but dull
            float(len(self.references)),
            float((entries != entries.round()).sum()),
            # A zero baseline is easier to follow than a zero input.
            float(entries.abs().sum() + 0.5 * self.references.abs().sum()) + coefficients,
            float((entries < 0).sum()),
        )


@dataclass(frozen=True)
class Comparison:
    """What an axiom says of a case and what a method gave.

    Attributes:
        gaps: The differences between the two, one for each number that the axiom speaks of; infinite where a number is
            zero that must not be, or is not a number.
        quantity: What is compared.
        expected: What the axiom asks for.
        observed: What the method gave.
    """

    gaps: Tensor
    quantity: str
    expected: str
    observed: str

    @property
    def gap(self) -> float:
        """The largest difference."""
        return float(self.gaps.max())
