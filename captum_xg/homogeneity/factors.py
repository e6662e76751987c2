"""Constants that products multiply by: with NaN or infinity among them F has no finite gradient at all."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any

from torch import Tensor

from captum_xg.homogeneity.modules import not_finite

_FACTORS: Mapping[str, tuple[str, ...]] = {
    "aten::mul": ("self", "other"),
    "aten::div": ("self",),  # what is divided by infinity is zero
    **dict.fromkeys(("aten::mm", "aten::bmm"), ("self", "mat2")),
    "aten::mv": ("self", "vec"),
    "aten::dot": ("self", "tensor"),
    "aten::addmm": ("mat1", "mat2"),
    **dict.fromkeys(("aten::addbmm", "aten::baddbmm"), ("batch1", "batch2")),
    "aten::addmv": ("mat", "vec"),
    **dict.fromkeys(("aten::convolution", "aten::linear"), ("input", "weight")),
    "aten::_prelu_kernel": ("weight",),
}
"""Where infinities have no meaning; sums, maxima and choices may have them as masks."""


def has_spoilt_factor(func: Any, arguments: Mapping[str, Any], dependent: Container[int]) -> bool:
    """Return whether an operation multiplies what depends on the input by a constant with NaN or infinity.

    Args:
        func: The operation.
        arguments: Its arguments by name.
        dependent: Ids of the tensors among them that depend on the input.
    """
    factors = [arguments.get(name) for name in _FACTORS.get(func._schema.name.removesuffix("_"), ())]
    if not any(id(value) in dependent for value in factors):
        return False
    return any(_is_spoilt(value) for value in factors if id(value) not in dependent)


def _is_spoilt(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not_finite(value) != (0, 0)
    return isinstance(value, float) and not math.isfinite(value)
