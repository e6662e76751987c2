"""The scaling of every number in memory: a shadow of each storage that a forward pass touches.

Scalings belong to storages, not to tensors, because views, slices and in-place operations through them share memory:
what is written through one is read through another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakIdKeyDictionary

from captum_xg._core.storage import has_storage
from captum_xg.homogeneity.degree import CONSTANT, ZERO, Reason, Scaling, sum_of


@dataclass(frozen=True)
class Mixed:
    """A tensor whose elements scale differently.

    Attributes:
        codes: For each element the number of its scaling in the palette, of the tensor's shape.
        reason: What to say when the parts are brought together: where they were put into one tensor.
    """

    codes: Tensor
    reason: Reason | None


Value: TypeAlias = Scaling | Mixed
"""How a tensor scales: all of it alike, or element by element."""


class Palette:
    """Numbers for scalings, so that tensors of them can be kept. Zero has number 0: padding with zeros is right."""

    def __init__(self) -> None:
        self._scalings: list[Scaling] = [ZERO]
        self._codes: dict[Scaling, int] = {ZERO: 0}

    def code(self, scaling: Scaling) -> int:
        """Return the number of a scaling."""
        if scaling not in self._codes:
            self._codes[scaling] = len(self._scalings)
            self._scalings.append(scaling)
        return self._codes[scaling]

    def __getitem__(self, code: int) -> Scaling:
        return self._scalings[code]

    def scalings(self, codes: Tensor) -> list[Scaling]:
        """Return the scalings that occur."""
        return [self._scalings[code] for code in codes.unique().tolist()]  # type: ignore[no-untyped-call]

    def mapped(self, value: Value, change: Callable[[Scaling], Scaling]) -> Value:
        """Return the value with the scaling of every element changed."""
        if isinstance(value, Scaling):
            return change(value)
        codes = torch.empty_like(value.codes)
        for code in value.codes.unique().tolist():  # type: ignore[no-untyped-call]
            codes[value.codes == code] = self.code(change(self._scalings[code]))
        return Mixed(codes, value.reason)

    def together(self, value: Value) -> Scaling:
        """Return one scaling for all elements: that of their sum."""
        if isinstance(value, Scaling):
            return value
        return sum_of(*self.scalings(value.codes), reason=value.reason)


@dataclass
class _Shadow:
    uniform: Scaling
    codes: Tensor | None = None  # one per element of the storage, if they are not uniform
    reason: Reason | None = None
    itemsize: int = 1


class Shadows:
    """Reads and writes the scalings of tensors."""

    def __init__(self) -> None:
        self.palette = Palette()
        self._shadows: WeakKeyDictionary[torch.UntypedStorage, _Shadow] = WeakKeyDictionary()
        self._without_storage: WeakIdKeyDictionary = WeakIdKeyDictionary()  # sparse and the like: no views to follow
        self._writes: WeakKeyDictionary[torch.UntypedStorage, int] = WeakKeyDictionary()
        self._foreign: WeakSet[torch.UntypedStorage] = WeakSet()
        self._places: dict[int, tuple[int, torch.device, StorageWeakRef]] = {}

    def writes(self, tensor: Tensor) -> int:
        """Return how often the memory that a tensor lies in has been written to."""
        return self._writes.get(tensor.untyped_storage(), 0)

    def known(self, tensor: Tensor) -> bool:
        """Return whether anything was written for the tensor's memory."""
        return tensor.untyped_storage() in self._shadows if has_storage(tensor) else tensor in self._without_storage

    def smuggled(self, tensor: Tensor) -> bool:
        """Return whether a tensor, of which nothing is known, lies in memory of which something is.

        PyTorch shares storages between views; two storages in one place were made outside of it (DLPack, NumPy).
        """
        storage = tensor.untyped_storage() if has_storage(tensor) else None
        if storage is None or storage in self._shadows or storage in self._foreign or not storage.nbytes():
            return False
        self._foreign.add(storage)  # asked once for each parameter
        start, end = storage.data_ptr(), storage.data_ptr() + storage.nbytes()
        return any(
            place < end and start < place + size and device == storage.device and not alive.expired()  # type: ignore[no-untyped-call]
            for place, (size, device, alive) in self._places.items()
        )

    def _note_place(self, storage: torch.UntypedStorage) -> None:
        try:
            place = storage.data_ptr()
        except RuntimeError:  # of tensors that only wrap others
            return
        # Not by Python's weak references: what these give back may be a storage that is gone already.
        self._places[place] = (storage.nbytes(), storage.device, StorageWeakRef(storage))  # type: ignore[no-untyped-call]

    def read(self, tensor: Tensor) -> Value:
        """Return the scaling of a tensor; memory that nothing is known of holds constants."""
        if not has_storage(tensor):
            scaling: Scaling = self._without_storage.get(tensor, CONSTANT)  # type: ignore[no-untyped-call]
            return scaling
        shadow = self._shadows.get(tensor.untyped_storage())
        if shadow is None:
            return CONSTANT
        if shadow.codes is None or tensor.numel() == 0:
            return shadow.uniform
        if (
            tensor.element_size() != shadow.itemsize
            or len(shadow.codes) * shadow.itemsize < tensor.untyped_storage().nbytes() - shadow.itemsize + 1
        ):  # the same bits as other numbers, such as complex ones as real
            return self._whole(shadow)
        codes = shadow.codes.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
        present = codes.unique()  # type: ignore[no-untyped-call]
        return self.palette[int(present[0])] if len(present) == 1 else Mixed(codes, shadow.reason)

    def anywhere(self, tensor: Tensor) -> Scaling:
        """Return the scaling of all of the memory that a tensor lies in, as a whole."""
        shadow = self._shadows.get(tensor.untyped_storage())
        return CONSTANT if shadow is None else self._whole(shadow)

    def _whole(self, shadow: _Shadow) -> Scaling:
        return shadow.uniform if shadow.codes is None else self.palette.together(Mixed(shadow.codes, shadow.reason))

    def create(self, tensor: Tensor, value: Value) -> None:
        """Set the scaling of a new tensor and of all of its memory."""
        if not has_storage(tensor):
            self._without_storage[tensor] = self.palette.together(value)
            return
        self._note_place(tensor.untyped_storage())
        if isinstance(value, Scaling):
            self._shadows[tensor.untyped_storage()] = _Shadow(value)
        else:
            self._shadows[tensor.untyped_storage()] = _Shadow(ZERO)
            self.write(tensor, value, lambda _, __: value.reason)

    def write(self, tensor: Tensor, value: Value, clash: Callable[[Scaling, Scaling], Reason | None]) -> None:
        """Set the scaling of a tensor's elements, and of nothing else in its memory.

        Args:
            tensor: A tensor or view.
            value: How its elements scale now.
            clash: From what the memory held, and what is written, to what to say if the parts are brought together.
        """
        if not has_storage(tensor):
            self._without_storage[tensor] = self.palette.together(value)
            return
        storage, size = tensor.untyped_storage(), tensor.element_size()
        self._writes[storage] = self._writes.get(storage, 0) + 1
        shadow = self._shadows.get(storage) or _Shadow(CONSTANT)
        elements = storage.nbytes() // size
        if isinstance(value, Scaling) and (
            _covers(tensor, elements) or (shadow.codes is None and shadow.uniform == value)
        ):
            self._shadows[storage] = _Shadow(value)
            return
        if shadow.codes is None or shadow.itemsize != size or len(shadow.codes) != elements:
            whole = self._whole(shadow)
            reason = clash(whole, value) if isinstance(value, Scaling) else value.reason
            codes = torch.full((elements,), self.palette.code(whole), dtype=torch.int32)
            shadow = _Shadow(whole, codes, shadow.reason or reason, size)
        elif shadow.reason is None:
            shadow.reason = clash(shadow.uniform, value) if isinstance(value, Scaling) else value.reason
        assert shadow.codes is not None
        part = shadow.codes.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
        if isinstance(value, Mixed):
            part.copy_(value.codes.expand(part.shape))
        else:
            part.fill_(self.palette.code(value))
        self._shadows[storage] = shadow


def _covers(tensor: Tensor, elements: int) -> bool:
    """Return whether a tensor is the whole of its storage (allowing for memory that is allocated in excess)."""
    return tensor.numel() == elements and (tensor.is_contiguous() or tensor.is_contiguous(**_channels_last(tensor)))


def _channels_last(tensor: Tensor) -> dict[str, Any]:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return {"memory_format": formats.get(tensor.dim(), torch.contiguous_format)}
