"""Notes on tensors: what is remembered of each, without keeping it alive.

Like PyTorch's ``WeakIdKeyDictionary``, at a fraction of its price where nothing is noted of the tensor that is asked
about, which is so for nearly all of them, several times for each operation of a proof.
"""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

from torch import Tensor

_T = TypeVar("_T")


class TensorNotes(Generic[_T]):
    """One note for each tensor, told apart by identity; gone when the tensor is."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[weakref.ref[Tensor], _T]] = {}

    def __setitem__(self, tensor: Tensor, note: _T) -> None:
        key, held = id(tensor), self._held

        def forget(gone: weakref.ref[Tensor]) -> None:
            # By then another tensor may have taken the address, and a note.
            if key in held and held[key][0] is gone:
                del held[key]

        held[key] = weakref.ref(tensor, forget), note

    def get(self, tensor: Tensor) -> _T | None:
        """Return what is noted of a tensor, None if nothing is."""
        found = self._held.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None

    def __contains__(self, tensor: Tensor) -> bool:
        found = self._held.get(id(tensor))
        return found is not None and found[0]() is tensor
