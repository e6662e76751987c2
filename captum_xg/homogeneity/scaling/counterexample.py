"""A scale at which an example shows that F is not homogeneous of any degree: two more forward passes, far from it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from captum_xg.homogeneity.scaling.checks import Counterexample
from captum_xg.homogeneity.scaling.fit import Deviations, fit_degree, measure
from captum_xg.homogeneity.scaling.footprints import Run, footprint_of, left_range
from captum_xg.homogeneity.scaling.passes import values_of, vector_of
from captum_xg.homogeneity.scaling.precision import Precision


def find_counterexample(run: Run, inputs: tuple[Tensor, ...], outputs: Sequence[Tensor]) -> Counterexample | None:
    """Return a scale at which no degree fits, None if the tried ones show nothing.

    F, ``run``, may overwrite its inputs. What deviates since an intermediate value leaves the range of its dtype is no
    counterexample.
    """
    precision = Precision.of(*inputs, *(y for y in outputs if y.dtype.is_floating_point))
    far = precision.exponent_for(1.0)
    tolerance = torch.finfo(precision.dtype).eps ** 0.5
    here = vector_of(outputs)
    if here.numel() == 0:
        return None
    # What is wrong may show only very far from x, or, for high degrees, only close to it.
    for exponent in (far, 3 * far, 1) if far > 1 else (1,):
        scales = (2.0**-exponent, 2.0**exponent)
        found = _beyond(tolerance, measure(lambda xs: values_of(run, xs), here, inputs, scales))
        if found is not None and not _by_accident(run, inputs, found.scale):
            return found
    return None


def _by_accident(run: Run, inputs: tuple[Tensor, ...], scale: float) -> bool:
    there = footprint_of(run, tuple(scale * x.detach() for x in inputs))
    # Mostly no value is near the ends of its range, so that it does not matter what it was at x.
    return there.is_near_range(scale) and left_range(footprint_of(run, inputs), there, scale)


def _beyond(tolerance: float, seen: Deviations) -> Counterexample | None:
    """Return the scale that deviates most, if that is more than rounding."""
    here = seen.here
    for scale, there in seen.there.items():
        if there.shape != here.shape:
            return Counterexample(scale, math.inf, 1.0)
    finite = {scale: there for scale, there in seen.there.items() if there.isfinite().all()}
    if not finite or not here.isfinite().all():
        return None
    usable = Deviations(here, finite)
    k = fit_degree(usable, tolerance)
    deviation, scale = usable.worst(k)
    return Counterexample(scale, deviation, k) if deviation > tolerance else None
