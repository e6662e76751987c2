"""Memory with readers that no observer sees: NumPy arrays, DLPack capsules, storages, sparse tensors over its values.

What PyTorch's operations write is followed in shadow memory, and so is what they read. But who holds a NumPy view of
a buffer reads it without any operation, however long ago that view was taken. So values of the input may be written
only to memory of which nobody else can know: what was allocated in the pass and not exported since, or what was there
before and is *owned* by tensors alone. PyTorch counts the owners of a storage and of a tensor, and forbids those that
NumPy knows to be resized; what it counts and Python's tensors do not explain is a reader that is not seen.

Who reads may write as well. Of constants in memory that NumPy knows, a digest tells whether they are what they were
where they were used.

Example: ``cache[:, i] = k`` goes on being followed. After ``view = cache.numpy()``, in whatever constructor, it is not.

What must never happen: memory is taken for owned because nothing was looked at. So memory is owned only if that was
found out, and an export in the pass ends it.
"""

from __future__ import annotations

import gc
import sys
import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from captum_xg._core.storage import has_storage
from captum_xg.homogeneity.certificate.shadow_memory import ShadowMemory

EXPORTS = frozenset(
    {
        *("numpy", "__array__", "__dlpack__", "to_dlpack", "_to_dlpack", "__cuda_array_interface__"),
        *("untyped_storage", "storage", "_typed_storage", "share_memory_"),
    }
)
"""Methods of tensors that hand out their memory, and not only the numbers in it."""
_Span: TypeAlias = tuple[int, int]
"""Bytes of a storage: the first, and the one after the last."""


class ExportedMemory:
    """Knows which memory can be read by nobody but PyTorch's operations.

    Args:
        shadows: Knows which memory was allocated in the pass.
    """

    def __init__(self, shadows: ShadowMemory) -> None:
        self._shadows = shadows
        self._alone = _counts_of_one()  # before the pass, whose operations are counted
        self._owned: WeakSet[torch.UntypedStorage] = WeakSet()
        self._exported: WeakSet[torch.UntypedStorage] = WeakSet()
        self._doubted: WeakSet[torch.UntypedStorage] = WeakSet()
        self._unexplained: WeakSet[torch.UntypedStorage] = WeakSet()
        self._used: WeakKeyDictionary[torch.UntypedStorage, dict[_Span, int]] = WeakKeyDictionary()

    def note_export(self, tensor: Tensor) -> None:
        """Take memory for exported from now on."""
        if has_storage(tensor):
            self._exported.add(tensor.untyped_storage())

    def look_at(self, tensors: Iterable[Tensor], *, closely: bool) -> None:
        """Find out about memory from before the pass whether tensors alone own it.

        Call it where Python calls, and not within an operation, whose own references would count.

        Args:
            tensors: What is passed to a function.
            closely: Look for other tensors in the same memory, which takes a walk through all objects.
        """
        with torch._C.DisableTorchFunction():  # to other modes and kinds of tensors this is no call of the model's
            for tensor in filter(_is_plain, tensors):
                self._look_at(tensor, closely)

    def _look_at(self, tensor: Tensor, closely: bool) -> None:
        # No variable for the storage, here and below: references to it are counted.
        if tensor.untyped_storage() in self._owned or self._shadows.made(tensor):
            return
        if tensor.untyped_storage() not in self._doubted:
            self._doubted.add(tensor.untyped_storage())
            if _counts(tensor) == self._alone:
                self._owned.add(tensor.untyped_storage())
                return
        if closely and tensor.untyped_storage() not in self._unexplained:
            (self._owned if _is_explained(tensor, self._alone) else self._unexplained).add(tensor.untyped_storage())

    def is_rewritten(self, tensors: Iterable[Tensor]) -> bool:
        """Return whether constants in memory that NumPy knows hold other numbers than where they were used before."""
        changed = False
        for tensor in filter(_is_plain, tensors):
            storage = tensor.untyped_storage()
            if storage.resizable() or storage.device.type != "cpu":
                continue
            span = _span(tensor)
            digest = _digest(storage, span)
            changed |= self._used.setdefault(storage, {}).setdefault(span, digest) != digest
        return changed

    def was_rewritten(self) -> bool:
        """Return whether any of them holds other numbers by now."""
        used = ((storage, *part) for storage, parts in self._used.items() for part in parts.items())
        return any(_digest(storage, span) != digest for storage, span, digest in used)

    def note_write(self, tensor: Tensor) -> None:
        """Forget what was in memory that an operation writes to."""
        self._used.pop(tensor.untyped_storage(), None)

    def is_read_elsewhere(self, tensor: Tensor) -> bool:
        """Return whether the memory of a tensor may be read by what is no operation of PyTorch's."""
        if not has_storage(tensor):
            return not self._shadows.knows(tensor)
        storage = tensor.untyped_storage()
        return storage in self._exported or not (storage in self._owned or self._shadows.made(tensor))


def _is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is numbers in memory, and not what a transform of torch.func wraps around one."""
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(tensor) and has_storage(tensor)


def _span(tensor: Tensor) -> _Span:
    """Return the part of its memory that a tensor lies in: all weights of a model may be views of one array."""
    size, start = tensor.element_size(), int(tensor.storage_offset()) * tensor.element_size()
    if not tensor.numel():
        return start, start
    last = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + (int(last) + 1) * size


def _digest(storage: torch.UntypedStorage, span: _Span) -> int:
    content = torch.empty(0, dtype=torch.uint8).set_(storage)
    numbers: Any = content.numpy()
    return zlib.crc32(numbers[slice(*span)])


def _counts(tensor: Tensor) -> tuple[bool, int, int, int]:
    """Return what shows who knows a tensor's memory: resizable, owners of it, holders of its storage, of the tensor."""
    storage = tensor.untyped_storage()
    return storage.resizable(), _owners(storage), sys.getrefcount(storage), _holders(tensor)


def _owners(storage: torch.UntypedStorage) -> int:
    number: int = torch._C._storage_Use_Count(storage._cdata)
    return number


def _holders(tensor: Tensor) -> int:
    # Not in all versions; those without it export to DLPack through a view, which is an owner.
    count = getattr(tensor, "_use_count", None)
    number: int = 0 if count is None else count()
    return number


@lru_cache(maxsize=1)
def _counts_of_one() -> tuple[bool, int, int, int]:
    """Return the counts of a tensor that nothing but one variable knows; how PyTorch counts is up to its version."""
    with torch._C.DisableTorchFunction():
        return _counts(torch.zeros(2, device="cpu"))


def _is_explained(tensor: Tensor, alone: tuple[bool, int, int, int]) -> bool:
    """Return whether Python's tensors are all that owns a tensor's memory; one that is alone has those counts."""
    resizable, owners, references, holders = alone
    found = _counts(tensor)
    if (found[0], found[2]) != (resizable, references):
        return False
    storage = tensor.untyped_storage()
    tensors = (t for t in gc.get_objects() if issubclass(type(t), Tensor) and _is_plain(t))
    inside = {t._cdata: t for t in tensors if t.untyped_storage() is storage}
    bases = [view._base for view in inside.values() if view._base is not None]
    inside.update((base._cdata, base) for base in bases)
    viewed = [base._cdata for base in bases]
    return found[1] == owners + len(inside) - 1 and all(
        _holders(t) == holders + viewed.count(key) for key, t in inside.items()
    )
