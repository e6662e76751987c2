"""The error of Captum's rules of integration, from the pieces of a path: no further gradients but at its two ends.

A rule is a weighted sum of gradients at its nodes. The gradient at a node is that of the piece that it lies in, so that
every piece counts with the weights of the nodes inside. At α = 0 and 1, where some rules have nodes, gradients are
taken as Captum takes them: behind a zero input all of a network may stand on its kinks, and the gradient there is none
of a piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from captum_xg._core.captum_compat import approximation_parameters
from captum_xg._core.text import Table, displayed
from captum_xg.attr.adaptive.samples import Array, Indices
from captum_xg.attr.exact.paths import Paths

MOST_STEPS = 1000
"""The largest number of steps that is tried."""
_LISTED = (
    *(2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 50, 60, 70, 80, 100, 115, 128, 150, 175, 200),
    *(250, 300, 350, 400, 500, 600, 700, 800, 1000),
)
_GROWTH = 1.25
_SHOWN_STEPS = (10, 20, 50, 100, 300)
_SHOWN = 20
_HELD = 2**25
"""Numbers of rules' sums that are held at once."""


@displayed
@dataclass(frozen=True, eq=False)
class StepsNeeded:
    """How many steps Captum's Integrated Gradients needs on each example; its ``str()`` is a table.

    Attributes:
        steps: The smallest number that was tried from which on the relative error ‖IG(n) − IG‖₂/‖IG‖₂ stays within
            ``rtol``, float64, shape ``(N,)``; infinity where no such number was tried.
        tried: The numbers of steps that were tried, int64, ascending.
        errors: The relative error for each of them, float64, shape ``(N, len(tried))``.
        rtol: The error that is allowed.
        method: The rule of integration.
    """

    steps: Tensor
    tried: Tensor
    errors: Tensor
    rtol: float
    method: str

    def _parts(self) -> Iterator[str | Table]:
        n = len(self.steps)
        yield f"Steps that Integrated Gradients ({self.method}) needs for a relative error of {self.rtol:g}"
        shown = [k for k in _SHOWN_STEPS if k in self.tried.tolist()]
        rows = [("example", "steps", *(f"error of {k}" for k in shown))]
        places = [self.tried.tolist().index(k) for k in shown]
        for i in torch.argsort(self.steps, descending=True, stable=True).tolist()[:_SHOWN]:
            steps = float(self.steps[i])
            said = f"{steps:.0f}" if steps != float("inf") else f"> {int(self.tried[-1])}"
            rows.append((str(i), said, *(f"{float(self.errors[i, k]):.1e}" for k in places)))
        yield Table(rows, left=0)
        if n > _SHOWN:
            yield f"and {n - _SHOWN} more with fewer steps"


@lru_cache(maxsize=8)
def numbers_of_steps(most: int) -> tuple[int, ...]:
    """Return the numbers of steps that are tried: all up to 10, and from there on some, no more than 30 % apart."""
    listed = [*_LISTED]
    while listed[-1] < most:
        listed.append(round(listed[-1] * _GROWTH))
    return tuple(sorted({*(n for n in listed if n <= most), most}))


def first_within(rtol: float, tried: Sequence[int], errors: Tensor) -> Tensor:
    """Return the number of steps from which on errors, of shape ``(N, len(tried))``, stay within a tolerance."""
    since = (errors <= rtol).flip(1).cumprod(1).sum(1)  # how many of the largest numbers are within it
    return torch.tensor([*tried, float("inf")], dtype=torch.float64)[len(tried) - since]


class Rule:
    """A rule of integration with a number of steps.

    Attributes:
        at_ends: The weights of nodes at α = 0 and 1.
    """

    def __init__(self, method: str, steps: int) -> None:
        nodes, weights = _parameters(method, steps)
        inside = (nodes > 0) & (nodes < 1)
        self.at_ends = np.array([weights[nodes <= 0].sum(), weights[nodes >= 1].sum()])
        order = np.argsort(nodes[inside])
        self._nodes = nodes[inside][order]
        self._sums = np.concatenate([[0.0], np.cumsum(weights[inside][order])])

    def weights(self, left: Array, right: Array) -> Array:
        """Return the sum of the weights of the nodes in each of some intervals."""
        found: Array = self._sums[np.searchsorted(self._nodes, right)] - self._sums[np.searchsorted(self._nodes, left)]
        return found


@lru_cache(maxsize=1024)
def rule_of(method: str, steps: int) -> Rule:
    """Return a rule, which is computed once."""
    return Rule(method, steps)


def _parameters(method: str, steps: int) -> tuple[Array, Array]:
    """Return nodes and weights, both from one run of NumPy where Captum takes two: eigenvalues, in cubic time."""
    if method == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return 0.5 * (1 + nodes), 0.5 * weights
    sizes, alphas = approximation_parameters(method)
    return np.array(alphas(steps)), np.array(sizes(steps))


def errors_of_rules(paths: Paths, rules: Sequence[Rule], most: int) -> Tensor:
    """Return the relative error ‖IG(n) − IG‖₂/‖IG‖₂ of rules of integration, float64, shape ``(N, len(rules))``.

    Args:
        paths: The paths of N examples.
        rules: The rules.
        most: The most pieces of one path.
    """
    n, features = paths.points.displacement.shape
    group = max(_HELD // (features * (len(rules) + 1)), 1)
    parts = (range(start, min(start + group, n)) for start in range(0, n, group))
    return torch.cat([_errors_of(paths, examples, rules, most) for examples in parts])


def _errors_of(paths: Paths, examples: range, rules: Sequence[Rule], most: int) -> Tensor:
    displacement = paths.points.displacement[examples.start : examples.stop]
    sums = displacement.new_zeros((len(examples), len(rules) + 1, displacement.shape[1]))

    def collect(own: Indices, left: Array, right: Array, gradients: Tensor) -> None:
        weights = np.stack([*(rule.weights(left, right) for rule in rules), right - left])
        given = torch.from_numpy(weights).to(gradients)
        for example in np.unique(own).tolist():
            of_example = torch.from_numpy(own == example).to(gradients.device)
            sums[example - examples.start] += given[:, of_example] @ gradients[of_example]

    paths.walked(examples, most, collect)
    at_ends = torch.from_numpy(np.stack([rule.at_ends for rule in rules]))
    if at_ends.any():
        for i in examples:
            rows = paths.points.at(np.full(2, i), np.array([0.0, 1.0])).gradients
            sums[i - examples.start, :-1] += at_ends.to(rows) @ rows
    terms = sums * displacement[:, None]
    exact = terms[:, -1:]
    size = exact.norm(dim=2).clamp_min(torch.finfo(torch.float64).tiny)
    errors: Tensor = (terms[:, :-1] - exact).norm(dim=2) / size
    return errors.cpu()
