"""The derivative by α of every tensor that depends on α, kept by the memory that the tensor lies in.

What is kept for a piece of memory is a tangent of its size: so a view has the view of it, a write through a view is a
write to it, and no operation that only looks at memory needs a rule. Example: after ``y = x[:, 0]; y.mul_(2)`` the
tangent of ``x`` has doubled in its column 0.

What must never happen: memory that was freed and is used again passes for what lay there before. Entries hold a weak
reference to their memory, whose address is no other one's as long as that is held.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from captum_xg._core.storage import has_storage

_PURGED_AFTER = 8
"""New entries between two looks for memory that is gone."""


class Tangents:
    """dz/dα of tensors z, for one pass."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[StorageWeakRef, Tensor]] = {}
        self._constant: dict[int, StorageWeakRef] = {}
        self._since = 0

    def knows(self, tensor: Tensor) -> bool:
        """Return whether a tensor depends on α, or is a constant of a piece that may be another one elsewhere."""
        if not has_storage(tensor):
            return False
        place = tensor.untyped_storage()._cdata
        return place in self._held or place in self._constant

    def mark(self, tensor: Tensor) -> None:
        """Note that a tensor is constant within a piece, such as the result of a comparison."""
        if has_storage(tensor):
            storage = tensor.untyped_storage()
            self._constant[storage._cdata] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]

    def has(self, tensor: Tensor) -> bool:
        """Return whether a tensor lies in memory that depends on α."""
        return has_storage(tensor) and tensor.untyped_storage()._cdata in self._held

    def of(self, tensor: Tensor) -> Tensor | None:
        """Return the tangent of a tensor, which is overwritten where that is; None if it does not depend on α."""
        if not self.has(tensor):
            return None
        _, whole = self._held[tensor.untyped_storage()._cdata]
        return whole.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def put(self, tensor: Tensor, tangent: Tensor) -> None:
        """Keep the tangent of a tensor in memory of its own, or write it to where the memory's is kept."""
        held = self.of(tensor)
        if held is None:
            storage = tensor.untyped_storage()
            if self._is_like(tangent, tensor):
                whole = tangent.as_strided((storage.nbytes() // tensor.itemsize,), (1,), 0)
            else:
                whole = torch.zeros(storage.nbytes() // tensor.itemsize, dtype=tensor.dtype, device=tensor.device)
                whole.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset()).copy_(tangent)
            self._purge()
            self._held[storage._cdata] = (StorageWeakRef(storage), whole)  # type: ignore[no-untyped-call]
        else:
            held.copy_(tangent)

    def _is_like(self, tangent: Tensor, tensor: Tensor) -> bool:
        """Return whether the memory of a tangent can be kept as it is: laid out alike, and nobody else's."""
        storage = tangent.untyped_storage()
        return bool(
            tangent.dtype == tensor.dtype
            and tangent.shape == tensor.shape
            and tangent.stride() == tensor.stride()
            and tangent.storage_offset() == tensor.storage_offset()
            and storage.nbytes() == tensor.untyped_storage().nbytes()
            and all(whole.untyped_storage()._cdata != storage._cdata for _, whole in self._held.values())
            and storage._cdata not in self._held
        )

    def _purge(self) -> None:
        self._since += 1
        if self._since >= _PURGED_AFTER:
            self._since = 0
            self._held = {key: entry for key, entry in self._held.items() if not _is_gone(entry[0])}
            self._constant = {key: held for key, held in self._constant.items() if not _is_gone(held)}


def _is_gone(held: StorageWeakRef) -> bool:
    return bool(held.expired())  # type: ignore[no-untyped-call]
