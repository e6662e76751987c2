"""F of each example alone beside F of the batch: the joint function has the one, and callers mean the other.

Constants are given to each example by itself, so that examples that see each other would not: of ``x − x.mean(0)``
nothing is left. What must never happen: attributions are returned that add up to another function than the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from captum_xg._core.target import PARTS_ADVICE
from captum_xg._core.types import Tensors
from captum_xg.errors import CrossExampleError
from captum_xg.homogeneity.scaling.precision import Precision
from captum_xg.homogeneity.scaling.trials import to_vector


def require_same_alone(
    in_batch: Tensor,
    alone: Tensor,
    products: Tensors,
    where: str,
    inner: Callable[[], Iterable[torch.dtype]],
) -> None:
    """Refuse a forward function whose value for an example is another one in the batch.

    Args:
        in_batch: F(x) of all examples together, shape ``(N,)``.
        alone: The same of each by itself.
        products: x·∂F/∂x and c·∂F/∂c, to whose size rounding is relative.
        where: The public name that errors begin with.
        inner: Returns the dtypes that F computes in; asked where those of its values do not explain a difference.

    Raises:
        CrossExampleError: Naming the worst example.
    """
    one, other = to_vector(in_batch), to_vector(alone)
    size = sum(
        (to_vector(p.detach().abs().reshape(len(p), -1).sum(1)) for p in products), one.abs().maximum(other.abs())
    )
    difference = ((one - other).abs() / size).nan_to_num(nan=0.0)  # of zero and zero
    if float(difference.max()) <= Precision.of(in_batch, *products).inexact_rtol:
        return
    if float(difference.max()) <= Precision.of(in_batch, *products, inner=inner()).inexact_rtol:
        return
    i = int(difference.argmax())
    raise CrossExampleError(
        f"{where}: F(x) of example {i} is {float(one[i]):.6g} in this batch and {float(other[i]):.6g} by itself, so no "
        "attribution to one example is complete. Either the forward function mixes examples: then let it treat them "
        "separately, or explain one at a time. Or a tensor among the additional arguments has as many rows as there "
        "are examples and is not meant to have one for each: then bind it, as in lambda x: model(x, "
        f"table).{PARTS_ADVICE}"
    )
