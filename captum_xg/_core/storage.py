"""The memory of tensors: views that share it, reads beyond a view's part, elements that lie on top of each other.

An example of each: ``x[0]`` shares memory with ``x``; ``x[0].as_strided((4,), (2,))`` reads what is not its own;
``x.expand(3, n)`` lies on top of itself, so that a write to one element changes three.
"""

from __future__ import annotations

import torch
from torch import Tensor

_COUNTERPART = {
    torch.float16: torch.complex32,
    torch.float32: torch.complex64,
    torch.float64: torch.complex128,
    torch.complex32: torch.float16,
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}


_STRIDED = torch.strided


def has_storage(tensor: Tensor) -> bool:
    """Return whether a tensor's numbers lie in memory of its own, strided, so that views of it can be followed."""
    # Asked many times for each operation of a proof; a device costs more to make than to ask.
    return (
        tensor.layout is _STRIDED
        and not tensor.is_nested
        and (tensor.is_cpu or tensor.is_cuda or tensor.device.type not in ("meta", "mkldnn"))
    )


def reads_other_bits(view: Tensor, viewed: Tensor) -> bool:
    """Return whether a view reads the bits of numbers as numbers of another kind, parts of complex ones excepted."""
    return viewed.dtype not in (view.dtype, _COUNTERPART.get(view.dtype))


def shares_memory(tensor: Tensor, others: list[Tensor]) -> bool:
    """Return whether a tensor is a view of one of others."""
    if not has_storage(tensor):
        return any(tensor is other for other in others)
    storage = tensor.untyped_storage()
    return any(has_storage(other) and other.untyped_storage() is storage for other in others)


def lies_within(view: Tensor, viewed: Tensor) -> bool:
    """Return whether a view reads only elements of the tensor that it was taken of."""
    return bool(_covered(viewed).as_strided(view.size(), view.stride(), view.storage_offset()).all())


def overlaps(tensor: Tensor, others: list[Tensor]) -> bool:
    """Return whether an element of a tensor is another one of its own as well, or one at another place of others."""
    if not has_storage(tensor) or tensor.numel() < 2:
        return False
    if _on_top_of_itself(tensor):
        return True
    place = tensor.storage_offset(), tensor.shape, tensor.stride()
    return any(
        shares_memory(other, [tensor])
        and other.numel() > 0
        and (other.storage_offset(), other.shape, other.stride()) != place
        and bool((_covered_bytes(other) & _covered_bytes(tensor)).any())
        for other in others
    )


def is_dense(tensor: Tensor) -> bool:
    """Return whether a tensor takes every element of a piece of memory once, in whatever order."""
    if tensor.is_contiguous():
        return True
    span = 1
    for step, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and step != span:
            return False
        span *= max(size, 1)
    return True


def _on_top_of_itself(tensor: Tensor) -> bool:
    if tensor.is_contiguous():
        return False
    span = 1
    for step, size in sorted(
        (step, size) for size, step in zip(tensor.shape, tensor.stride(), strict=True) if size > 1
    ):
        if step < span:
            return True
        span += (size - 1) * step
    return False


def _covered(tensor: Tensor) -> Tensor:
    """Return which elements of its memory a tensor takes."""
    covered = torch.zeros(tensor.untyped_storage().nbytes() // tensor.element_size(), dtype=torch.bool)
    covered.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset()).fill_(True)
    return covered


def _covered_bytes(tensor: Tensor) -> Tensor:
    return _covered(tensor).repeat_interleave(tensor.element_size())
