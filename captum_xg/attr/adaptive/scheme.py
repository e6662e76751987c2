"""What to do next with one example: which rule fits its integrand, whether it is done, and where else to look.

The order of the rule follows the integrand. A power of α is integrated from two points in closed form. Up to
:data:`_FEW` points a mean over kinds of smoothness gives weights and error, as long as a smooth kind is likely. Once
the integrand shows itself to jump, or to do something in a small place, cells take over, which use all points so far:
of the rules for many jumps in a cell and for one the one with the smaller error.
Nothing but what was seen of this example enters, so that its attributions do not depend on the batch it comes in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from captum_xg.attr.adaptive.cells import cell_estimate
from captum_xg.attr.adaptive.jumps import jump_estimate
from captum_xg.attr.adaptive.placement import mirrored, placed, shared_out
from captum_xg.attr.adaptive.power import power_estimate
from captum_xg.attr.adaptive.samples import Array, Estimate, Samples
from captum_xg.attr.adaptive.smoothness import SmoothEstimate, predicted_error, smooth_estimate

FIRST = np.array([0.085, 0.915])
"""Where every integrand is looked at first: points of a good rule with four, which a good one with seven contains."""
_FEW = 16
"""The most points from which smoothness is inferred. An integrand that needs more is not smooth on the whole path."""
_JUMPY = 0.97
"""Probability of jumps from which on the rule for them is used."""
_EARLY = 8
"""Below so many points they are put where a smooth integrand needs them, even if jumps are likely: nothing is lost."""


@dataclass(frozen=True)
class Step:
    """What is known of an integral by now, and what is to be evaluated next.

    Attributes:
        estimate: The integral and its error.
        points: Where to evaluate next; none if the tolerance is met or there is nothing more to be gained.
    """

    estimate: Estimate
    points: Array


def next_step(samples: Samples, rtol: float, budget: int) -> Step:
    """Return the integral from these samples, and up to ``budget`` new points if it is not within the tolerance."""
    n = len(samples.points)
    none = np.zeros(0)
    if n == 2 and (power := power_estimate(samples)) is not None and power.relative <= rtol:
        return Step(power, none)
    # Cells place points where they are needed, and not alike on both sides: there is no way back from them.
    alike = np.allclose(samples.points + samples.points[::-1], 1.0)
    smooth = smooth_estimate(samples) if n <= _FEW and alike else None
    likely = smooth is not None and (n < 4 or smooth.jumpy < _JUMPY)
    if smooth is not None and likely:
        # Two rows alike that are no power are two zeros: a neuron that is off at both may be on between them.
        if (smooth.relative <= rtol and n > 3) or budget == 0:
            return Step(smooth, none)
        if n < _FEW:
            return Step(smooth, _for_smooth(smooth, samples.points, rtol, budget))
    step = _by_cells(samples, rtol, budget)
    if smooth is not None and n < _EARLY and len(step.points):
        return Step(step.estimate, _for_smooth(smooth, samples.points, rtol, budget))
    return step


def _for_smooth(estimate: SmoothEstimate, points: Array, rtol: float, budget: int) -> Array:
    """Return the fewest new points that should suffice if the integrand is smooth, at most a few."""
    best = points[:0]
    for count in range(1, min(2 if len(points) < 4 else 5, budget) + 1):
        ways = list(mirrored(points, count))
        if not ways:
            continue
        errors = [predicted_error(estimate, points, np.sort(np.concatenate([points, new]))) for new in ways]
        best = ways[int(np.argmin(errors))]
        if min(errors) <= rtol * estimate.norm:
            break
    return best


def _by_cells(samples: Samples, rtol: float, budget: int) -> Step:
    """Return the integral by cells, and new points: some of those that it should take."""
    estimate, located = cell_estimate(samples), jump_estimate(samples)
    if located.error < estimate.error:
        estimate = located
    if estimate.relative <= rtol or budget == 0:
        return Step(estimate, np.zeros(0))
    # The error of a rule for jumps goes with 1/n at least. A few at a time, as which cells need them turns out then.
    n = len(samples.points)
    count = min(np.ceil(0.8 * n * (min(estimate.relative / rtol, 1e6) - 1)), n // 3, budget)
    return Step(estimate, placed(samples.points, shared_out(estimate.energies, max(int(count), 1))))
