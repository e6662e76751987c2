"""Cases that axioms are tried on: functions with an input and references, and how far an estimate may be off there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from captum_xg.metrics.axioms.functions import Subject

_GENERIC = (0.0713, 0.2917, 0.4969, 0.7331, 0.9377)
"""Places on the path that no small number lands on."""
_PATH = 65
_STEP = 2.0**-17


@dataclass(frozen=True, eq=False)
class Query:
    """One attribution that a case asks for: A(F, x, x').

    Attributes:
        subject: F.
        x: The input, of F's shape.
        references: The baselines x', shape ``(K, *shape)``; the mean over them is taken where a method takes a set.
        weight: By how much an error in this attribution moves what the axiom compares.
    """

    subject: Subject
    x: Tensor
    references: Tensor
    weight: float = 1.0

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
        return float(self.output(torch.cat((self.x.unsqueeze(0), self.references))).abs().max())

    def gradients(self, points: Tensor) -> Tensor:
        """Return ∇F at a batch of points, flat: shape ``(N, D)``."""
        with torch.enable_grad():
            leaf = points.detach().clone().requires_grad_()
            output = self.subject.module(leaf)
            found = torch.autograd.grad(output.sum(), leaf, allow_unused=True)[0] if output.requires_grad else None
        return torch.zeros_like(leaf).flatten(1) if found is None else found.flatten(1)

    def integrand(self, alphas: Tensor) -> Tensor:
        """Return (x − x')·∂F at x' + α(x − x') for α of shape ``(P, *shape)`` or ``(P, 1, …)``: ``(K, P, D)``."""
        differences = (self.x - self.references).unsqueeze(1)
        points = self.references.unsqueeze(1) + alphas.to(self.x) * differences
        gradients = torch.cat([self.gradients(part) for part in torch.split(points.reshape(-1, *self.x.shape), _PATH)])
        return gradients.reshape(len(self.references), len(alphas), -1) * differences.flatten(2)

    def error(self, effort: int, *, sampled: bool) -> Tensor:
        """Return how far an estimate of each feature's attribution may be off, shape ``(D,)``.

        A quadrature with n nodes is off by the variation V of the integrand along the path times the discrepancy of the
        nodes: 4·V/n (Koksma). A mean of n draws is off by more than 3/√n of their range with probability 4e-8
        (Hoeffding).
        """
        return 3 / math.sqrt(effort) * self._range if sampled else 4 / effort * self._variation

    @cached_property
    def _variation(self) -> Tensor:
        return self.integrand(self._path).diff(dim=1).abs().sum(1).amax(0).double().cpu()

    @cached_property
    def _range(self) -> Tensor:
        # Over the box between x and x', not only the path: it bounds what switching features one by one changes, too.
        box = torch.rand(_PATH, *self.x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        values = self.integrand(torch.cat((self._path.expand_as(box), box)))
        return (values.amax((0, 1)) - values.amin((0, 1))).double().cpu()

    @property
    def _path(self) -> Tensor:
        """α at inner points of the path, shape ``(P, 1, …)``."""
        return ((torch.arange(_PATH, dtype=torch.float64) + 0.371) / _PATH).reshape(-1, *[1] * self.x.dim())

    @cached_property
    def differentiable(self) -> bool:
        """Whether autograd's gradient is F's gradient at x and at points between it and the references.

        The axioms speak of derivatives that exist; at a kink autograd hands out a convention.
        """
        x, references = self.x.unsqueeze(0), self.references
        points = torch.cat((x, *(references + alpha * (x - references) for alpha in _GENERIC))).flatten(1)
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
    def size(self) -> int:
        """How complicated the functions are."""
        return sum(subject.size for subject in self.subjects)


@dataclass(frozen=True)
class Comparison:
    """What an axiom asks for in a case, and what a method gave.

    Attributes:
        gaps: The differences between the two: one for each feature, or a single number about the features that the
            case names (all where it names none). Infinite where a number is zero that must not be, or is not a number.
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

    def concerned(self, values: Tensor, features: tuple[int, ...]) -> Tensor:
        """Return what errors ``values`` of all features, shape ``(D,)``, can add up to in each gap."""
        if self.gaps.shape == values.shape:
            return values
        return (values[list(features)] if features else values).sum(0, keepdim=True)


def difference(quantity: str, expected: Tensor, observed: Tensor) -> Comparison:
    """Compare two attributions; the numbers shown are all of them, or the feature that differs most."""
    gaps = (expected - observed).abs().nan_to_num(float("inf"), float("inf"))
    if len(gaps) <= 6:
        return Comparison(gaps, quantity, vector(expected), vector(observed))
    i = int(gaps.argmax())
    return Comparison(gaps, f"{quantity}, feature {i}", number(float(expected[i])), number(float(observed[i])))


def vector(values: Tensor) -> str:
    """Return (1, −2, 0.5)."""
    return f"({', '.join(map(number, values.tolist()))})"


def number(value: float) -> str:
    """Return a number in at most 6 digits."""
    return f"{round(value, 12) + 0.0:.6g}".replace("-", "−")


def one_gap(value: float) -> Tensor:
    """Return a single number as gaps, which are positive, and infinite where it is NaN."""
    return torch.tensor([float("inf") if math.isnan(value) else abs(value)], dtype=torch.float64)
