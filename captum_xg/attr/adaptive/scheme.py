"""What to do next with examples: which rule fits an integrand, whether it is done, and where else to look.

The order of the rule follows the integrand. A power of α is integrated from two points in closed form. Up to
:data:`_FEW` points a mean over kinds of smoothness gives weights and error, as long as a smooth kind is likely. What it
claims is confronted with one more row, where a jump would do most harm, before it is believed. Once the integrand
shows itself to jump, or to do something in a small place, cells take over, which use all points so far: of the rules
for many jumps in a cell and for one the one with the smaller error.
Examples with as many points each are worked on at once, as there may be hundreds of small ones. Nothing but what was
seen of an example enters its own numbers, so that its attributions do not depend on the batch it comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from captum_xg.attr.adaptive.cells import cell_estimate
from captum_xg.attr.adaptive.jumps import jump_estimate
from captum_xg.attr.adaptive.placement import mirrored, placed, shared_out, unpaired
from captum_xg.attr.adaptive.power import power_estimate
from captum_xg.attr.adaptive.samples import Array, Estimate, Indices, Samples
from captum_xg.attr.adaptive.smoothness import Points, SmoothEstimate, predicted_errors, smooth_estimate

FIRST = np.array([0.085, 0.915])
"""Where every integrand is looked at first: points of a good rule with four, which a good one with seven contains."""
_FEW = 16
"""The most points from which smoothness is inferred. An integrand that needs more is not smooth on the whole path."""
_JUMPY = 0.97
"""Probability of jumps from which on the rule for them is used."""
_EARLY = 8
"""Below so many points they are put where a smooth integrand needs them, even if jumps are likely: nothing is lost."""
_UNSEEN = 0.05
"""Probability of jumps up to which fewer points than :data:`_EARLY` may be enough. Kinks may lie between them all."""
_SCATTER = 6.0
"""Number of points for which the error by cells is doubled, as a mean of so few squares is often too small."""
_ASIDE = 0.382
"""Where in its cell a smooth integrand is confronted with its row: not in the middle, so that it has no mirror."""
_NONE: Array = np.zeros(0)
"""No new points."""


@dataclass(frozen=True)
class Steps:
    """What is known of integrals by now, and what is to be evaluated next.

    Attributes:
        estimate: The integrals and their errors.
        points: Where to evaluate next, for each; none if the tolerance is met or there is nothing more to be gained.
    """

    estimate: Estimate
    points: list[Array]

    def put(self, chosen: Indices, estimate: Estimate, points: list[Array]) -> None:
        """Say what is known of chosen examples, and where these are evaluated next."""
        own = self.estimate
        own.weights[chosen], own.error[chosen], own.norm[chosen] = estimate.weights, estimate.error, estimate.norm
        for i, new in zip(chosen.tolist(), points, strict=True):
            self.points[i] = new


def next_steps(samples: Samples, rtol: float, budget: int) -> Steps:
    """Return the integrals from these samples, and up to ``budget`` new points where they are not within ``rtol``."""
    b, n = samples.points.shape
    steps = Steps(Estimate(np.zeros((b, n)), np.zeros(b), np.zeros(b)), [_NONE] * b)
    left = np.arange(b)
    if n == 2:
        power = power_estimate(samples)
        steps.put(left, power, steps.points)
        left = np.flatnonzero(power.relative > rtol)
    if n <= _FEW + 1:
        left = _put_smooth(steps, samples, left, rtol, budget)
    if len(left):
        estimate, points = _by_cells(samples.of(left), rtol, budget)
        for i, own in enumerate(left.tolist()):
            if len(points[i]) and len(steps.points[own]):
                points[i] = steps.points[own]  # where a smooth integrand needs them
        steps.put(left, estimate, points)
    return steps


def _put_smooth(steps: Steps, samples: Samples, left: Indices, rtol: float, budget: int) -> Indices:
    """Say what smoothness makes of those that are left; return those for cells, perhaps with points of a smooth one.

    A claim that is within ``rtol`` is confronted with one more row before it is believed. That row's point is the only
    one without a mirror, which is how examples tell that they have been confronted.
    """
    n = samples.points.shape[1]
    # Cells place points where they are needed, and not alike on both sides: there is no way back from them.
    alone = unpaired(samples.points[left])
    count = alone.sum(1)
    alike = (count == 0) & (n <= _FEW) | (count == 1) & (n > 4)
    few, alone, confronted = left[alike], alone[alike], count[alike] == 1
    if not len(few):
        return left
    own = samples.of(few)
    smooth = smooth_estimate(own)
    likely = np.full(len(few), True) if n < 4 else smooth.jumpy < _JUMPY
    # Two rows alike that are no power are two zeros: a neuron that is off at both may be on between them.
    enough = n >= _EARLY or (smooth.jumpy <= _UNSEEN) & (n > 3)
    claimed = likely & (smooth.relative <= rtol) & enough
    done = claimed & confronted | likely & (budget == 0)
    more = ~done & (claimed | ((likely | (n < _EARLY)) & (n < _FEW))) & (budget > 0)
    points = [_NONE] * len(few)
    for i in np.flatnonzero(more & confronted).tolist():
        points[i] = 1 - own.points[i, alone[i]]
    asking = np.flatnonzero(claimed & ~confronted)
    if budget == 0:
        _doubt(smooth, own, asking)
    elif len(asking):
        for i, new in zip(asking.tolist(), _doubtful(own.of(asking)), strict=True):
            points[i] = new
    wanting = np.flatnonzero(more & ~claimed & ~confronted)
    for i, new in zip(wanting, _for_smooth(smooth.of(wanting), own.points[wanting], rtol, budget), strict=True):
        points[i] = new
    steps.put(few, smooth, points)
    settled = done | (more & (claimed | likely))
    return np.sort(np.concatenate([left[~alike], few[~settled]]))


def _doubt(smooth: Estimate, samples: Samples, asking: Indices) -> None:
    """Let claims that cannot be confronted any more err by what they may if the integrand is not smooth."""
    if len(asking):
        rival, _ = _by_cells(samples.of(asking), np.inf, 0)
        smooth.error[asking] = np.maximum(smooth.error[asking], rival.error)


def _doubtful(samples: Samples) -> Array:
    """Return for each example the point where a jump would do most harm that a smooth rule has taken for a slope."""
    edges = np.concatenate([np.zeros((len(samples.points), 1)), samples.points, np.ones((len(samples.points), 1))], 1)
    cell = cell_estimate(samples).energies.argmax(1)[:, None]
    start, end = (np.take_along_axis(edges, at, 1) for at in (cell, cell + 1))
    share = np.where(start + end <= 1, _ASIDE, 1 - _ASIDE)
    found: Array = start + share * (end - start)
    return found


def _for_smooth(estimate: SmoothEstimate, points: Array, rtol: float, budget: int) -> list[Array]:
    """Return the fewest new points that should suffice if the integrand is smooth, at most a few."""
    found = [_NONE] * len(points)
    keys = list(map(tuple, points.tolist()))
    for before in dict.fromkeys(keys):
        pending = np.array([i for i, key in enumerate(keys) if key == before])
        for count in range(1, min(2 if len(before) < 4 else 5, budget) + 1):
            ways, together = _ways(before, count)
            if not ways:
                continue
            own = estimate.of(pending)
            errors = predicted_errors(own, before, together)
            for i, way in zip(pending.tolist(), errors.argmin(1).tolist(), strict=True):
                found[i] = ways[way]
            pending = pending[errors.min(1) > rtol * own.norm]
            if not len(pending):
                break
    return found


@lru_cache(maxsize=1024)
def _ways(points: Points, count: int) -> tuple[tuple[Array, ...], tuple[Points, ...]]:
    """Return the new points of each way to add some, and all points together."""
    ways = tuple(mirrored(np.array(points), count))
    return ways, tuple(tuple(sorted((*points, *new.tolist()))) for new in ways)


def _by_cells(samples: Samples, rtol: float, budget: int) -> tuple[Estimate, list[Array]]:
    """Return the integrals by cells, and new points: some of those that they should take."""
    cells, located = cell_estimate(samples), jump_estimate(samples)
    better = located.error < cells.error
    estimate = Estimate(
        np.where(better[:, None], located.weights, cells.weights),
        np.where(better, located.claimed, cells.claimed) * (1 + (_SCATTER / samples.points.shape[1]) ** 2),
        np.where(better, located.norm, cells.norm),
    )
    energies = np.where(better[:, None], located.energies, cells.energies)
    points = [_NONE] * len(better)
    pending = np.flatnonzero(estimate.relative > rtol)
    if budget == 0 or not len(pending):
        return estimate, points
    # The error of a rule for jumps goes with 1/n at least. A few at a time, as which cells need them turns out then.
    n = samples.points.shape[1]
    counts = np.ceil(0.8 * n * (np.minimum(estimate.relative[pending] / rtol, 1e6) - 1))
    counts = np.clip(counts, 1, max(min(n // 3, budget), 1)).astype(np.int64)
    new = placed(samples.points[pending], shared_out(energies[pending], counts))
    for i, own in zip(pending.tolist(), new, strict=True):
        points[i] = own
    return estimate, points
