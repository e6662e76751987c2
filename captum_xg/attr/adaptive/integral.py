"""Integrals over α in (0, 1) of curves with one row per α, to a tolerance, for many examples at a time.

What is integrated is told by an :class:`Integrand`: rows and values at points that are asked for. Examples go their own
ways and leave when they are done; the points that the others ask for are evaluated together.

The tolerance is relative and in the Euclidean norm: ‖estimate − integral‖₂ ≤ rtol·‖integral‖₂ for each example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from captum_xg.attr.adaptive.samples import Array, Indices, Samples
from captum_xg.attr.adaptive.scheme import FIRST, Step, next_step

_CHUNK = 2**22
"""Numbers that are widened to float64 at once."""


class Integrand(Protocol):
    """Curves a(α), one for each example, that are the gradients of F along its path, times its displacement."""

    precision: float
    """Relative rounding error of F."""

    def ends(self, examples: Sequence[int]) -> Array:
        """Return F at α = 0 and 1 of some examples, shape ``(M, 2)``."""

    def rows(self, examples: Sequence[int], points: Sequence[float]) -> tuple[Tensor, Array]:
        """Return gradients, shape ``(M, D)``, and F at M pairs of an example and a point."""

    def displacement(self, example: int) -> Tensor:
        """Return what the gradients of an example are multiplied by to be its curve, shape ``(D,)``."""


@dataclass(frozen=True)
class Integral:
    """The integral for one example.

    Attributes:
        mean_gradient: Mean of the gradients along the path, float64, shape ``(D,)``.
        evaluations: How many gradients it took.
        error: Estimated relative error of displacement · mean gradient, in the Euclidean norm.
        converged: Whether that is within the tolerance.
    """

    mean_gradient: Tensor
    evaluations: int
    error: float
    converged: bool


class _Example:
    """What was evaluated of one example."""

    def __init__(self, ends: Array, displacement: Tensor, precision: float) -> None:
        self._precision = precision
        self._ends, self._displacement = ends, displacement.to(torch.float64)
        self._points: list[float] = []
        self._values: list[float] = []
        self._rows: list[Tensor] = []
        self._gram = np.zeros((0, 0))
        self._sums = np.zeros(0)

    def __len__(self) -> int:
        return len(self._points)

    def add(self, points: Sequence[float], rows: Tensor, values: Array) -> None:
        """Add rows, with their inner products with all others and themselves."""
        old, new = len(self), len(points)
        self._points.extend(points)
        self._values.extend(values.tolist())
        self._rows.append(rows)
        grown = np.zeros((old + new, old + new))
        grown[:old, :old] = self._gram
        sums = np.zeros(new)
        step = max(_CHUNK // (old + new), 1)
        for start in range(0, rows.shape[1], step):
            # In float64 from the start: differences of rows that are nearly the same are what errors are told from.
            scale = self._displacement[start : start + step]
            own = rows[:, start : start + step].to(torch.float64) * scale
            sums += own.sum(1).cpu().numpy()
            first = 0
            for block in self._rows:
                others = block[:, start : start + step].to(torch.float64) * scale
                grown[old:, first : first + len(block)] += (own @ others.T).cpu().numpy()
                first += len(block)
        grown[:old, old:] = grown[old:, :old].T
        self._gram, self._sums = grown, np.concatenate([self._sums, sums])

    def samples(self) -> tuple[Samples, Indices]:
        """Return what is known in ascending order of α, and which row comes where."""
        order = np.argsort(self._points)
        values = np.concatenate([self._ends[:1], np.array(self._values)[order], self._ends[1:]])
        gram = self._gram[np.ix_(order, order)]
        points = np.array(self._points)[order]
        return Samples(points, gram, self._sums[order], values, self._displacement.numel(), self._precision), order

    def mean(self, weights: Array) -> Tensor:
        """Return the weighted sum of the rows, with weights in the order in which they came."""
        total = torch.zeros_like(self._displacement)
        first = 0
        for block in self._rows:
            own = torch.from_numpy(weights[first : first + len(block)]).to(total.device)
            step = max(_CHUNK // len(block), 1)
            for start in range(0, len(total), step):
                total[start : start + step] += own @ block[:, start : start + step].to(torch.float64)
            first += len(block)
        return total


def integrate(
    integrand: Integrand,
    examples: Sequence[int],
    rtol: float,
    budget: int,
    *,
    finer: float | None = None,
    to_spend: int = 0,
) -> list[Integral]:
    """Return the integrals of some examples, with at most ``budget`` gradients for each.

    Args:
        integrand: The curves.
        examples: Which ones.
        rtol: The tolerance.
        budget: At least 2.
        finer: A tolerance below ``rtol`` to be met where ``to_spend`` gradients are enough for it.
        to_spend: What that may cost for one example.
    """
    ends = integrand.ends(examples)
    states = [
        _Example(own, integrand.displacement(i), integrand.precision) for own, i in zip(ends, examples, strict=True)
    ]
    done: list[Integral | None] = [None] * len(examples)
    wanted: dict[int, Array] = dict.fromkeys(range(len(examples)), FIRST)
    while wanted:
        pairs = [(i, float(point)) for i, points in wanted.items() for point in points]
        rows, values = integrand.rows([examples[i] for i, _ in pairs], [point for _, point in pairs])
        first = 0
        for i, points in list(wanted.items()):
            part = slice(first, first + len(points))
            states[i].add(points.tolist(), rows[part], values[part])
            first += len(points)
            samples, order = states[i].samples()
            spent = len(states[i])
            step = next_step(samples, rtol, budget - spent)
            if finer is not None and not len(step.points) and spent < to_spend:
                step = next_step(samples, finer, to_spend - spent)
            wanted[i] = step.points
            if not len(step.points):
                done[i] = _concluded(states[i], step, order, rtol)
                del wanted[i]
    return [integral for integral in done if integral is not None]


def _concluded(state: _Example, step: Step, order: Indices, rtol: float) -> Integral:
    weights = np.empty(len(state))
    weights[order] = step.estimate.weights
    error = step.estimate.relative
    return Integral(state.mean(weights), len(state), error, error <= rtol)
