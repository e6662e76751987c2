"""Shadow memory: how every number scales that a forward pass has in memory.

Each storage that the pass touches has a *shadow*: one :class:`Scaling` if all of its elements scale alike, else one
code per element, which an interning table (:class:`InternedScalings`) turns back into a scaling. Scalings belong to
storages, not to tensors, because views, slices and in-place operations through them share memory: what is written
through one is read through another.

Example: after ``y = torch.zeros(4); y[:2] = x[:2]; y[2:] = 1`` the shadow of ``y`` is ``[degree 1, degree 1, constant,
constant]``. ``y[:2]`` reads degree 1. ``y.sum()`` joins all four and is no longer homogeneous, with the write that
mixed them as the reason.

What must never happen: memory that depends on the input is read as a constant. So unknown memory is constant only
because every way in which the input can get there writes a shadow first; bits that are read with another element size
are joined; and padding counts as zero (code 0), never as what lies beside it. Shadows refer to storages weakly: they
keep no activation alive.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import WeakIdKeyDictionary

from captum_xg._core.storage import has_storage
from captum_xg.homogeneity.degree import CONSTANT, ZERO, Reason, Scaling, sum_of


@dataclass(frozen=True)
class PerElement:
    """A tensor whose elements scale differently.

    Attributes:
        codes: For each element the code of its scaling in the interning table, of the tensor's shape.
        reason: What to say when the parts are joined: where they were put into one tensor.
    """

    codes: Tensor
    reason: Reason | None


Value: TypeAlias = Scaling | PerElement
"""How a tensor scales: all of it alike, or element by element."""


class InternedScalings:
    """A code for each scaling, so that there are tensors of them. Zero has code 0: padding with zeros is right."""

    def __init__(self) -> None:
        self._scalings: list[Scaling] = [ZERO]
        self._codes: dict[Scaling, int] = {ZERO: 0}

    def code(self, scaling: Scaling) -> int:
        """Return the code of a scaling."""
        if scaling not in self._codes:
            self._codes[scaling] = len(self._scalings)
            self._scalings.append(scaling)
        return self._codes[scaling]

    def __getitem__(self, code: int) -> Scaling:
        return self._scalings[code]

    def present(self, codes: Tensor) -> list[Scaling]:
        """Return the scalings that occur."""
        return [self._scalings[code] for code in codes.unique().tolist()]  # type: ignore[no-untyped-call]

    def map(self, value: Value, change: Callable[[Scaling], Scaling]) -> Value:
        """Return the value with the scaling of every element changed."""
        if isinstance(value, Scaling):
            return change(value)
        codes = torch.empty_like(value.codes)
        for code in value.codes.unique().tolist():  # type: ignore[no-untyped-call]
            codes[value.codes == code] = self.code(change(self._scalings[code]))
        return PerElement(codes, value.reason)

    def join(self, value: Value) -> Scaling:
        """Return one scaling for all elements: that of their sum."""
        return value if isinstance(value, Scaling) else sum_of(*self.present(value.codes), reason=value.reason)


@dataclass
class _Shadow:
    uniform: Scaling  # of everything; where there are codes, of everything before they were needed
    codes: Tensor | None = None  # one per element of the storage, if they are not uniform
    reason: Reason | None = None
    itemsize: int = 1


class ShadowMemory:
    """Reads and writes the scalings of tensors."""

    def __init__(self) -> None:
        self.interned = InternedScalings()
        self._shadows: WeakKeyDictionary[torch.UntypedStorage, _Shadow] = WeakKeyDictionary()
        self._without_storage: WeakIdKeyDictionary = WeakIdKeyDictionary()  # sparse and the like: no views to follow
        self._writes: WeakKeyDictionary[torch.UntypedStorage, int] = WeakKeyDictionary()
        self._foreign: WeakSet[torch.UntypedStorage] = WeakSet()
        self._made: WeakSet[torch.UntypedStorage] = WeakSet()
        self._places: dict[int, tuple[int, torch.device, StorageWeakRef]] = {}
        self._starts: list[int] = []  # of these places, in order
        self._longest = 0

    def writes(self, tensor: Tensor) -> int:
        """Return how often the memory that a tensor lies in has been written to."""
        return self._writes.get(tensor.untyped_storage(), 0)

    def knows(self, tensor: Tensor) -> bool:
        """Return whether anything was written for the tensor's memory."""
        return tensor.untyped_storage() in self._shadows if has_storage(tensor) else tensor in self._without_storage

    def made(self, tensor: Tensor) -> bool:
        """Return whether the memory of a tensor was allocated in the pass, as an operation's result or an input."""
        return tensor.untyped_storage() in self._made

    def lies_on_known_memory(self, tensor: Tensor) -> bool:
        """Return whether a tensor, of which nothing is known, lies in memory of which something is.

        PyTorch shares storages between views; two storages in one place were made outside of it (DLPack, NumPy).
        """
        storage = tensor.untyped_storage() if has_storage(tensor) else None
        if storage is None or storage in self._shadows or storage in self._foreign or not storage.nbytes():
            return False
        self._foreign.add(storage)  # asked once for each parameter
        start, end = storage.data_ptr(), storage.data_ptr() + storage.nbytes()
        near = self._starts[bisect_right(self._starts, start - self._longest) : bisect_left(self._starts, end)]
        return any(
            start < place + size and device == storage.device and not alive.expired()  # type: ignore[no-untyped-call]
            for place, (size, device, alive) in ((place, self._places[place]) for place in near)
        )

    def _note_place(self, storage: torch.UntypedStorage) -> None:
        try:
            place = storage.data_ptr()
        except RuntimeError:  # of tensors that only wrap others
            return
        if place not in self._places:
            insort(self._starts, place)
        self._longest = max(self._longest, storage.nbytes())
        # Not by Python's weak references: what these give back may be a storage that is gone already.
        self._places[place] = (storage.nbytes(), storage.device, StorageWeakRef(storage))  # type: ignore[no-untyped-call]

    def read(self, tensor: Tensor) -> Value:
        """Return how a tensor scales; memory that nothing is known of holds constants."""
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
        return self.interned[int(present[0])] if len(present) == 1 else PerElement(codes, shadow.reason)

    def scaling(self, tensor: Tensor) -> Scaling:
        """Return how a tensor scales as a whole."""
        return self.interned.join(self.read(tensor))

    def depends(self, tensor: Tensor) -> bool:
        """Return whether any of a tensor's numbers depend on the input."""
        return self.scaling(tensor).depends_on_input

    def around(self, tensor: Tensor) -> Scaling:
        """Return how all of the memory that a tensor lies in scales, as a whole."""
        shadow = self._shadows.get(tensor.untyped_storage())
        return CONSTANT if shadow is None else self._whole(shadow)

    def _whole(self, shadow: _Shadow) -> Scaling:
        return shadow.uniform if shadow.codes is None else self.interned.join(PerElement(shadow.codes, shadow.reason))

    def create(self, tensor: Tensor, value: Value) -> None:
        """Set how a new tensor scales, and all of its memory."""
        if not has_storage(tensor):
            self._without_storage[tensor] = self.interned.join(value)
            return
        self._note_place(tensor.untyped_storage())
        self._made.add(tensor.untyped_storage())
        if isinstance(value, Scaling):
            self._shadows[tensor.untyped_storage()] = _Shadow(value)
        else:
            self._shadows[tensor.untyped_storage()] = _Shadow(ZERO)
            self.write(tensor, value)

    def write(self, tensor: Tensor, value: Value) -> Scaling | None:
        """Set how a tensor's elements scale, and nothing else in its memory.

        Returns:
            How the memory scaled before, if its parts differ from now on and nothing says why: a reason for that is to
            be set by :meth:`blame`.
        """
        if not has_storage(tensor):
            self._without_storage[tensor] = self.interned.join(value)
            return None
        storage, size = tensor.untyped_storage(), tensor.element_size()
        self._writes[storage] = self._writes.get(storage, 0) + 1
        shadow = self._shadows.get(storage)
        if shadow is None:  # it was there before, and so may be what others have looked at already
            self._note_place(storage)
            self._foreign.clear()
            shadow = _Shadow(CONSTANT)
        elements = storage.nbytes() // size
        if isinstance(value, Scaling) and (
            _covers(tensor, elements) or (shadow.codes is None and shadow.uniform == value)
        ):
            self._shadows[storage] = _Shadow(value)
            return None
        if shadow.codes is None or shadow.itemsize != size or len(shadow.codes) != elements:
            whole = self._whole(shadow)
            codes = torch.full((elements,), self.interned.code(whole), dtype=torch.int32)
            shadow = _Shadow(whole, codes, shadow.reason, size)
        assert shadow.codes is not None
        part = shadow.codes.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
        self._shadows[storage] = shadow
        if isinstance(value, PerElement):
            part.copy_(value.codes.expand(part.shape))
            shadow.reason = shadow.reason or value.reason
            return None
        part.fill_(self.interned.code(value))
        return shadow.uniform if shadow.reason is None else None

    def blame(self, tensor: Tensor, reason: Reason | None) -> None:
        """Set the reason that the parts of the memory of a tensor differ."""
        self._shadows[tensor.untyped_storage()].reason = reason


def _covers(tensor: Tensor, elements: int) -> bool:
    """Return whether a tensor is the whole of its storage (allowing for memory that is allocated in excess)."""
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim(), torch.contiguous_format)
    return tensor.numel() == elements and (tensor.is_contiguous() or tensor.is_contiguous(memory_format=channels_last))
