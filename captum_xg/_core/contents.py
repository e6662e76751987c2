"""The numbers that a tensor of any layout holds, as plain tensors: sparse, quantised, nested and others among them.

Most operations that compare or look through numbers exist for strided tensors alone.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

_PLAIN_OPERATIONS = Tensor.__torch_dispatch__
_PER_CHANNEL = (torch.per_channel_affine, torch.per_channel_affine_float_qparams)
_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
    torch.sparse_bsc: ("ccol_indices", "row_indices"),
}


def entries(tensor: Tensor) -> tuple[Tensor, ...] | None:
    """Return the numbers that a tensor holds, those that are not zero if it is sparse; None if there are none to read.

    Tensors on the meta device and of lazy layers hold none; other kinds of tensors may hold them in unknown ways.
    """
    found = _contents(tensor)
    return None if found is None else found[0]


def parts_of(tensor: Tensor) -> tuple[Tensor, ...] | None:
    """Return strided tensors that together say all that a tensor holds; None if it cannot be read."""
    found = _contents(tensor)
    return None if found is None else (*found[0], *found[1])


def same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors hold the same in the same form, NaN where NaN is; False if that cannot be seen."""
    if one.layout != other.layout or one.dtype != other.dtype or one.is_nested != other.is_nested:
        return False
    parts, others = parts_of(one), parts_of(other)
    if parts is None or others is None or len(parts) != len(others):
        return False
    if not one.is_nested and one.shape != other.shape:
        return False
    return all(map(_same, parts, others))


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a strided tensor's numbers, where it is if that is dense memory of the CPU.

    Not by ``numpy()``, which leaves a mark on the caller's memory: it can no longer be resized, and counts as memory
    that NumPy may read.
    """
    plain = tensor.detach().to("cpu").contiguous()
    count = plain.numel() * plain.element_size()
    if not count:
        return memoryview(b"")
    content = (ctypes.c_char * count).from_address(plain.data_ptr())
    content.owner = plain  # type: ignore[attr-defined]  # kept for as long as its memory is looked at
    return memoryview(content).cast("B")


def all_zero(tensor: Tensor) -> bool:
    """Return whether a tensor holds nothing but zeros; False if that cannot be seen."""
    numbers = entries(tensor)
    return numbers is not None and not any(map(_any, numbers))


def _contents(tensor: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None:
    """Return the numbers, and what says where they stand."""
    if is_lazy(tensor) or tensor.is_meta:
        return None
    jagged = tensor.is_nested and tensor.layout == torch.jagged
    if type(tensor).__torch_dispatch__ is not _PLAIN_OPERATIONS and not jagged:
        return None
    try:
        return _separated(tensor.detach())
    except (RuntimeError, NotImplementedError, TypeError):
        return None


def _separated(tensor: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:  # noqa: PLR0911  one for each layout
    if tensor.is_nested:
        if tensor.layout == torch.jagged:
            return (tensor.values(),), (tensor.offsets(),)  # type: ignore[attr-defined]
        return tuple(tensor.unbind()), ()
    if tensor.is_quantized:
        if tensor.qscheme() in _PER_CHANNEL:
            return (tensor.dequantize(),), (tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points())
        return (tensor.dequantize(),), (torch.tensor([tensor.q_scale(), tensor.q_zero_point()], dtype=torch.float64),)
    if tensor.layout == torch.sparse_coo:
        return (tensor._values(),), (tensor._indices(),)
    if tensor.layout in _COMPRESSED:
        return (tensor.values(),), tuple(getattr(tensor, name)() for name in _COMPRESSED[tensor.layout])
    if tensor.layout != torch.strided:  # mkldnn
        return (tensor.to_dense(),), ()
    return (tensor.resolve_conj().resolve_neg(),), ()


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.device != other.device:
        return False
    try:
        if torch.equal(one, other):
            return True
        floating = one.dtype.is_floating_point or one.dtype.is_complex
        return floating and bool(((one == other) | (one.isnan() & other.isnan())).all())
    except RuntimeError:  # not all dtypes of 4, 8 and 32 bits have these operations
        return torch.equal(_bytes(one), _bytes(other))


def _any(x: Tensor) -> bool:
    try:
        return bool(x.any())
    except RuntimeError:
        return bool(_bytes(x).any())


def _bytes(x: Tensor) -> Tensor:
    return x.contiguous().reshape(-1).view(torch.uint8)
