"""What "equal" means for attributions: the largest difference, relative to the largest attribution of that example."""

from __future__ import annotations

import torch
from torch import Tensor


def as_tuple(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def per_example(tensors: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return all numbers of each example as one row, in float64."""
    return torch.cat([t.detach().double().reshape(len(t), -1) for t in as_tuple(tensors)], dim=1)


def assert_close(
    actual: Tensor | tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...], rtol: float, size: Tensor | None = None
) -> None:
    """Assert |actual − expected| ≤ rtol·size in every number; ``size`` is by default the example's largest expected."""
    assert isinstance(actual, Tensor) == isinstance(expected, Tensor)
    assert [t.shape for t in as_tuple(actual)] == [t.shape for t in as_tuple(expected)]
    one, other = per_example(actual), per_example(expected)
    assert bool(torch.isfinite(other).all()), "the expected value is not finite"
    if size is None:
        size = other.abs().amax(dim=1)
    difference = (one - other).abs().amax(dim=1)
    bad = ~(difference <= rtol * size)
    assert not bool(bad.any()), (
        f"example {int(bad.nonzero()[0])}: difference {difference[bad][0]:.3e}, allowed {(rtol * size)[bad][0]:.3e}"
    )
