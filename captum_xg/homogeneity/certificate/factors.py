"""Constants that are not finite and meet the input, so that F has no finite gradient at all."""

from __future__ import annotations

import cmath
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor
from torch._ops import OpOverload

from captum_xg._core.contents import entries
from captum_xg._core.model_state import not_finite
from captum_xg._core.operations import schema_of, tensors_in
from captum_xg._core.storage import has_storage, is_dense

_FACTORS: Mapping[str, tuple[str, ...]] = {
    "aten::mul": ("self", "other"),
    **dict.fromkeys(("aten::add", "aten::sub", "aten::rsub"), ("alpha",)),
    "aten::div": ("self",),  # what is divided by infinity is zero
    **dict.fromkeys(("aten::addcmul", "aten::addcdiv"), ("value", "tensor1", "tensor2")),
    "aten::lerp": ("weight",),
    **dict.fromkeys(("aten::mm", "aten::bmm"), ("self", "mat2")),
    "aten::mv": ("self", "vec"),
    "aten::dot": ("self", "tensor"),
    "aten::addmm": ("mat1", "mat2", "alpha", "beta"),
    **dict.fromkeys(("aten::addbmm", "aten::baddbmm"), ("batch1", "batch2", "alpha", "beta")),
    "aten::addmv": ("mat", "vec", "alpha", "beta"),
    **dict.fromkeys(("aten::convolution", "aten::linear"), ("input", "weight")),
    "aten::_trilinear": ("i1", "i2", "i3"),
    "aten::_prelu_kernel": ("weight",),
    "aten::leaky_relu": ("negative_slope",),
    **dict.fromkeys(
        ("aten::native_batch_norm", "aten::_native_batch_norm_legit_no_training", "aten::_batch_norm_no_update"),
        ("weight",),
    ),
}
"""Where infinities have no meaning either; sums, maxima and choices may have them as masks."""


class ConstantFactors:
    """Looks for NaN and infinity among the constants that operations combine with what depends on the input.

    Args:
        finite: Tensors that are known to have none, and need not be looked through again.
    """

    def __init__(self, finite: Iterable[Tensor]) -> None:
        self._finite = {
            _place(t): t._version for t in finite if has_storage(t) and not t.is_inference() and is_dense(t)
        }

    def spoil(self, op: OpOverload, arguments: Mapping[str, object], dependent: Collection[int]) -> bool:
        """Return whether an operation has NaN among its constants, or multiplies by infinity or divides by zero.

        Args:
            op: The operation.
            arguments: Its arguments by name.
            dependent: Ids of the tensors among them that depend on the input.
        """
        schema = schema_of(op)
        name, written = schema.name.removesuffix("_"), schema.written
        factors = _FACTORS.get(name, ())
        for key, value in arguments.items():
            if id(value) in dependent:
                continue
            if key in factors and not self._is_finite(value):
                return True
            # What is overwritten may hold anything, as memory that was just taken does.
            if key not in written and self._has_nan(value, dependent):
                return True
            if (name, key) == ("aten::div", "other") and _has_zero(value):
                return True
        return False

    def _is_finite(self, value: object) -> bool:
        if isinstance(value, Tensor):
            return self._known(value) or not_finite(value) == (0, 0)
        return not isinstance(value, (float, complex)) or cmath.isfinite(value)

    def _has_nan(self, value: object, dependent: Collection[int]) -> bool:
        if isinstance(value, (float, complex)):
            return cmath.isnan(value)
        if not isinstance(value, (Tensor, list, tuple)):
            return False
        constants = (tensor for tensor in tensors_in((value,)) if id(tensor) not in dependent)
        return any(not self._known(tensor) and not_finite(tensor)[0] > 0 for tensor in constants)

    def _known(self, tensor: Tensor) -> bool:
        if not has_storage(tensor) or tensor.is_inference():
            return False
        return self._finite.get(_place(tensor)) == tensor._version and is_dense(tensor)


def _has_zero(value: object) -> bool:
    numbers = (entries(value) or ()) if isinstance(value, Tensor) else (torch.as_tensor(value),)
    return any(bool((part == 0).any()) for part in numbers)


def _place(tensor: Tensor) -> tuple[int, int, torch.dtype]:
    return tensor.data_ptr(), tensor.numel(), tensor.dtype
