"""Integrals over α in (0, 1) of curves with one row per α, to a tolerance, for many examples at a time.

What is integrated is told by an :class:`Integrand`: rows and values at points that are asked for. Examples go their own
ways and leave when they are done; the points that the others ask for are evaluated together.

The tolerance is relative and in the Euclidean norm: ‖estimate − integral‖₂ ≤ rtol·‖integral‖₂ for each example.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from captum_xg.attr.adaptive.report import MARGIN
from captum_xg.attr.adaptive.rows import Rows
from captum_xg.attr.adaptive.samples import Array, Flags, Indices, Samples
from captum_xg.attr.adaptive.scheme import FIRST, Steps, next_steps


class Integrand(Protocol):
    """Curves a(α), one for each example, that are the gradients of F along its path, times its displacement."""

    precision: float
    """Relative rounding error of F."""

    def ends(self, examples: Sequence[int]) -> Array:
        """Return F at α = 0 and 1 of some examples, shape ``(M, 2)``."""

    def rows(self, examples: Sequence[int], points: Sequence[float]) -> tuple[Tensor, Array]:
        """Return gradients, shape ``(M, D)``, and F at M pairs of an example and a point."""

    def displacements(self, examples: Sequence[int]) -> Tensor:
        """Return what the gradients of some examples are multiplied by to be their curves, shape ``(M, D)``."""


@dataclass(frozen=True)
class Integrals:
    """The integrals for some examples.

    Attributes:
        mean_gradients: Means of the gradients along the paths, float64, shape ``(M, D)``.
        evaluations: How many gradients each took, ``(M,)``.
        errors: Estimated relative errors of displacement · mean gradient, in the Euclidean norm, ``(M,)``.
        converged: Whether these, with their margin, are within the tolerance, ``(M,)``.
    """

    mean_gradients: Tensor
    evaluations: Indices
    errors: Array
    converged: Flags


@dataclass(frozen=True)
class _Cohort:
    """Examples of which as many points are known each, in ascending order of α.

    Attributes:
        examples: Which they are.
        rows: Numbers of their rows, shape ``(B, n)``.
        samples: What is known of them.
    """

    examples: Indices
    rows: Indices
    samples: Samples

    @classmethod
    def at_the_start(cls, ends: Array, features: int, precision: float) -> _Cohort:
        """Return all examples, with nothing known but F at the ends."""
        b = len(ends)
        samples = Samples(np.zeros((b, 0)), np.zeros((b, 0, 0)), np.zeros((b, 0)), ends, features, precision)
        return cls(np.arange(b), np.zeros((b, 0), dtype=np.int64), samples)

    @classmethod
    def of(cls, parts: Sequence[_Cohort]) -> _Cohort:
        """Return examples of several cohorts with as many points each in one."""
        if len(parts) == 1:
            return parts[0]
        known = [part.samples for part in parts]
        samples = Samples(
            np.concatenate([own.points for own in known]),
            np.concatenate([own.gram for own in known]),
            np.concatenate([own.sums for own in known]),
            np.concatenate([own.values for own in known]),
            known[0].features,
            known[0].precision,
        )
        return cls(
            np.concatenate([part.examples for part in parts]), np.concatenate([part.rows for part in parts]), samples
        )

    def __len__(self) -> int:
        return int(self.rows.shape[1])

    def take(self, chosen: Indices) -> _Cohort:
        """Return some of the examples."""
        return _Cohort(self.examples[chosen], self.rows[chosen], self.samples.of(chosen))

    def grown(self, points: Array, rows: Indices, values: Array, held: Rows) -> _Cohort:
        """Return the examples with k points more each, of whose rows the numbers are given, and F there."""
        samples, n, k = self.samples, len(self), points.shape[1]
        products, sums = held.products(self.examples, rows, self.rows)
        gram = np.empty((len(points), n + k, n + k))
        gram[:, :n, :n], gram[:, n:] = samples.gram, products
        gram[:, :n, n:] = products[:, :, :n].transpose(0, 2, 1)
        together = np.concatenate([samples.points, points], axis=1)
        order = np.argsort(together, axis=1)
        by_example = np.arange(len(points))[:, None]
        inner = np.concatenate([samples.values[:, 1:-1], values], axis=1)[by_example, order]
        return _Cohort(
            self.examples,
            np.concatenate([self.rows, rows], axis=1)[by_example, order],
            Samples(
                together[by_example, order],
                gram[by_example[:, :, None], order[:, :, None], order[:, None]],
                np.concatenate([samples.sums, sums], axis=1)[by_example, order],
                np.concatenate([samples.values[:, :1], inner, samples.values[:, -1:]], axis=1),
                samples.features,
                samples.precision,
            ),
        )


def integrate(
    integrand: Integrand,
    examples: Sequence[int],
    rtol: float,
    budget: int,
    *,
    finer: float | None = None,
    to_spend: int = 0,
) -> Integrals:
    """Return the integrals of some examples, with at most ``budget`` gradients for each.

    Args:
        integrand: The curves.
        examples: Which ones.
        rtol: The tolerance, which the estimated error has to be within with :data:`MARGIN`.
        budget: At least 2.
        finer: A tolerance below ``rtol`` to be met where ``to_spend`` gradients are enough for it.
        to_spend: What that may cost for one example.
    """
    m = len(examples)
    held = Rows(integrand.displacements(examples))
    start = _Cohort.at_the_start(integrand.ends(examples), held.features, integrand.precision)
    found = Integrals(
        torch.empty(m, held.features, dtype=torch.float64, device=held.device),
        np.zeros(m, dtype=np.int64),
        np.zeros(m),
        np.zeros(m, dtype=np.bool_),
    )
    asked = [(start, np.tile(FIRST, (m, 1)))]
    while asked:
        cohorts = _evaluated(integrand, examples, asked, held)
        asked = []
        for cohort in cohorts:
            steps = next_steps(cohort.samples, rtol / MARGIN, budget - len(cohort))
            if finer is not None and len(cohort) < to_spend:
                _go_on(steps, cohort, finer / MARGIN, to_spend - len(cohort))
            counts = np.array([len(new) for new in steps.points])
            _conclude(found, cohort, steps, np.flatnonzero(counts == 0), held, rtol)
            for count in np.unique(counts[counts > 0]).tolist():
                chosen = np.flatnonzero(counts == count)
                asked.append((cohort.take(chosen), np.stack([steps.points[i] for i in chosen])))
    return found


def _evaluated(
    integrand: Integrand, examples: Sequence[int], asked: list[tuple[_Cohort, Array]], held: Rows
) -> Iterable[_Cohort]:
    """Return all examples with the points that they asked for, one cohort for each number of points."""
    pairs = [
        (examples[i], point)
        for cohort, points in asked
        for i, own in zip(cohort.examples.tolist(), points.tolist(), strict=True)
        for point in own
    ]
    rows, values = integrand.rows([i for i, _ in pairs], [point for _, point in pairs])
    first, at = held.add(rows), 0
    grown: dict[int, list[_Cohort]] = {}
    for cohort, points in asked:
        numbers = np.arange(at, at + points.size).reshape(points.shape)
        at += points.size
        new = cohort.grown(points, first + numbers, values[numbers], held)
        grown.setdefault(len(new), []).append(new)
    return map(_Cohort.of, grown.values())


def _go_on(steps: Steps, cohort: _Cohort, rtol: float, budget: int) -> None:
    """Let those examples that are done go on to a finer tolerance."""
    done = np.flatnonzero([not len(new) for new in steps.points])
    if len(done):
        further = next_steps(cohort.samples.of(done), rtol, budget)
        steps.put(done, further.estimate, further.points)


def _conclude(found: Integrals, cohort: _Cohort, steps: Steps, done: Indices, held: Rows, rtol: float) -> None:
    if not len(done):
        return
    places, errors = cohort.examples[done], steps.estimate.relative[done]
    means = held.means(cohort.rows[done], steps.estimate.weights[done])
    found.mean_gradients[torch.from_numpy(places)] = means
    found.evaluations[places], found.errors[places] = len(cohort), errors
    found.converged[places] = MARGIN * errors <= rtol
