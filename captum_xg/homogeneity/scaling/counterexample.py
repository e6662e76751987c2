"""A scale at which an example shows that F is not homogeneous: two more forward passes, far from the example."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from captum_xg.homogeneity.scaling.checks import Counterexample
from captum_xg.homogeneity.scaling.fit import Deviations, fit_degree, measure
from captum_xg.homogeneity.scaling.precision import Precision

Run = Callable[[tuple[Tensor, ...]], list[Tensor]]


def find_counterexample(
    run: Run, inputs: tuple[Tensor, ...], outputs: Sequence[Tensor], degree: float | None, *, proven: bool
) -> Counterexample | None:
    """Return a scale at which no degree fits (or not the given one), None if the tried ones show nothing.

    F, ``run``, may overwrite its inputs. If there is a proof, only gross disagreement speaks against it.
    """
    precision = Precision.of(*inputs, *(y for y in outputs if y.dtype.is_floating_point))
    far = precision.exponent_for(max(abs(degree or 1.0), 1.0))
    # A proof is doubted where it fails near x as well: far from it, intermediate values may leave the dtype's range.
    # Where something is known to be wrong, it may show only very far from x, or, for high degrees, only close to it.
    attempts = ((far, 1) if proven else (far, 3 * far, 1)) if far > 1 else (1,)
    tolerance = torch.finfo(precision.dtype).eps ** (0.25 if proven else 0.5)
    here = _vector(outputs)
    if here.numel() == 0:
        return None
    found = None
    for exponent in attempts:
        scales = (2.0**-exponent, 2.0**exponent)
        found = _beyond(tolerance, measure(lambda xs: _values(run, xs), here, inputs, scales), degree)
        if (found is None) == proven:
            break
    return found


def _beyond(tolerance: float, seen: Deviations, degree: float | None) -> Counterexample | None:
    """Return the scale that deviates most, if that is more than rounding."""
    here = seen.here
    for scale, there in seen.there.items():
        if there.shape != here.shape:
            return Counterexample(scale, math.inf, degree or 1.0)
    finite = {scale: there for scale, there in seen.there.items() if there.isfinite().all()}
    if not finite or not here.isfinite().all():
        return None
    usable = Deviations(here, finite)
    k = fit_degree(usable, tolerance) if degree is None else degree
    deviation, scale = usable.worst(k)
    return Counterexample(scale, deviation, k) if deviation > tolerance else None


def _values(run: Run, inputs: tuple[Tensor, ...]) -> Tensor | None:
    """Return F's output as one vector, None if it does not run at these inputs."""
    try:
        with torch.no_grad():
            return _vector(run(tuple(x.detach() for x in inputs)))
    except Exception:  # F may need gradients inside (hooks, derivatives), or may refuse such inputs
        try:
            return _vector(run(tuple(x.detach().requires_grad_().clone() for x in inputs)))
        except Exception:
            return None


def _vector(outputs: Sequence[Tensor]) -> Tensor:
    return torch.cat([y.detach().reshape(-1).double().cpu() for y in map(_real, outputs)])


def _real(y: Tensor) -> Tensor:
    return torch.view_as_real(y.resolve_conj()) if y.dtype.is_complex else y
