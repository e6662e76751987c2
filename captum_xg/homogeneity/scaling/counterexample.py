"""Does the example itself show that F is not homogeneous? Two more forward passes, at other scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from captum_xg.homogeneity.certificate.certificate import Counterexample
from captum_xg.homogeneity.scaling.precision import Precision

Run = Callable[[tuple[Tensor, ...]], list[Tensor]]


def find_counterexample(
    run: Run, inputs: tuple[Tensor, ...], outputs: Sequence[Tensor], degree: float | None, *, proven: bool
) -> Counterexample | None:
    """Return a scale at which no degree fits (or not the given one), None if the tried ones show nothing.

    Args:
        run: From inputs to the tensors of the output. It may overwrite its inputs.
        inputs: x.
        outputs: F(x).
        degree: k; None for the k that fits best.
        proven: Whether there is a proof, which then only gross disagreement speaks against.
    """
    precision = Precision.of(*inputs, *(y for y in outputs if y.dtype.is_floating_point))
    far = precision.exponent_for(max(abs(degree or 1.0), 1.0))
    # A proof is doubted where it fails near x as well: far from it, intermediate values may leave the dtype's range.
    # Where something is known to be wrong, it may show only very far from x, or, for high degrees, only close to it.
    attempts = ((far, 1) if proven else (far, 3 * far, 1)) if far > 1 else (1,)
    tolerance = torch.finfo(precision.dtype).eps ** (0.25 if proven else 0.5)
    reference = _vector(outputs)
    found = None
    for exponent in attempts:
        found = _try(run, inputs, reference, exponent, degree, tolerance)
        if (found is None) == proven:
            break
    return found


def _try(
    run: Run, inputs: tuple[Tensor, ...], reference: Tensor, exponent: int, degree: float | None, tolerance: float
) -> Counterexample | None:
    scales = (2.0**-exponent, 2.0**exponent)
    if reference.numel() == 0:
        return None
    runs = [(scale, _values(run, tuple(scale * x for x in inputs))) for scale in scales]
    seen = [(scale, _vector(outputs)) for scale, outputs in runs if outputs is not None]
    if any(y.shape != reference.shape for _, y in seen):
        return Counterexample(scales[0], math.inf, degree or 1.0)
    seen = [(scale, y) for scale, y in seen if y.isfinite().all()]
    if not seen or not reference.isfinite().all():
        return None
    candidates = [degree] if degree is not None else [_best_degree(reference, y, scale) for scale, y in seen]
    deviations = []
    for k in candidates:
        each = [(_deviation(y, reference * _power(scale, k)), scale) for scale, y in seen]
        deviations.append((*max(each), k))
    deviation, scale, k = min(deviations)
    return Counterexample(scale, deviation, k) if deviation > tolerance else None


def _values(run: Run, inputs: tuple[Tensor, ...]) -> list[Tensor] | None:
    """Return F's output, None if it does not run at these inputs."""
    try:
        with torch.no_grad():
            return run(tuple(x.detach() for x in inputs))
    except Exception:  # F may need gradients inside (hooks, derivatives), or may refuse such inputs
        try:
            return run(tuple(x.detach().requires_grad_().clone() for x in inputs))
        except Exception:
            return None


def _vector(outputs: Sequence[Tensor]) -> Tensor:
    return torch.cat([y.detach().reshape(-1).double().cpu() for y in map(_real, outputs)])


def _real(y: Tensor) -> Tensor:
    return torch.view_as_real(y.resolve_conj()) if y.dtype.is_complex else y


def _best_degree(reference: Tensor, scaled: Tensor, scale: float) -> float:
    before, after = float(reference.abs().max()), float(scaled.abs().max())
    k = (math.log(after) - math.log(before)) / math.log(scale) if before > 0 and after > 0 else 1.0
    return round(k, 3) if abs(k - round(k, 3)) < 1e-4 else k


def _power(scale: float, k: float) -> float:
    try:
        return float(scale**k)
    except OverflowError:
        return math.inf


def _deviation(observed: Tensor, expected: Tensor) -> float:
    size = float(expected.abs().max())
    difference = float((observed - expected).abs().max())
    if size == 0 or not math.isfinite(size):
        return 0.0 if difference == 0 else math.inf
    return difference / size
