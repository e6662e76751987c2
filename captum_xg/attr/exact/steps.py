"""The error of Captum's rules of integration, from the pieces of a path: no further gradients but at its two ends.

A rule is a weighted sum of gradients at its nodes. The gradient at a node is that of the piece that it lies in, so that
every piece counts with the weights of the nodes inside. At α = 0 and 1, where some rules have nodes, gradients are
taken as Captum takes them: behind a zero input all of a network may stand on its kinks, and the gradient there is none
of a piece.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from captum_xg._core.captum_compat import approximation_parameters
from captum_xg.attr.adaptive.samples import Array

MOST_STEPS = 1000
"""The largest number of steps that is tried."""
_EACH_UP_TO = 32
_GROWTH = 1.1


@lru_cache(maxsize=8)
def numbers_of_steps(most: int) -> tuple[int, ...]:
    """Return the numbers of steps that are tried: all from 2 to 32, and some above, some 10 % apart."""
    some = {round(_EACH_UP_TO * _GROWTH**k) for k in range(100)} | {40, 50, 100, 128, 200, 256, 300, 500, most}
    return tuple(sorted(n for n in {*range(2, _EACH_UP_TO + 1), *some} if n <= most))


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
def _parameters(method: str, steps: int) -> tuple[Array, Array]:
    sizes, alphas = approximation_parameters(method)
    return np.array(alphas(steps)), np.array(sizes(steps))
