"""What a proof has asked about constants, so that it can be asked again when they may have changed."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor


class Facts:
    """The questions about the values of constants that a proof rests on.

    A constant that exists before the forward pass (parameter, buffer, captured tensor) is a *source*; one that is computed
    in it is traced back to its sources.
    """

    def __init__(self) -> None:
        self._neutral: dict[int, Tensor] = {}
        self._unchanged: dict[int, tuple[Tensor, Tensor]] = {}
        self._sources: WeakKeyDictionary[torch.UntypedStorage, dict[int, Tensor]] = WeakKeyDictionary()

    def is_neutral(self, tensor: Tensor) -> bool:
        """Return whether a constant tensor holds only zeros and infinities, and make the proof depend on it if so."""
        neutral = all_neutral(tensor)
        if neutral:
            if tensor.untyped_storage() in self._sources:
                self.read(tensor)
            else:
                self._neutral[id(tensor)] = tensor.detach()
        return neutral

    def read(self, tensor: Tensor) -> None:
        """Make the proof depend on every value of a constant tensor."""
        for source in self.sources(tensor).values():
            if id(source) not in self._unchanged:
                self._unchanged[id(source)] = (source, source.detach().clone())

    def sources(self, tensor: Tensor) -> dict[int, Tensor]:
        """Return what a constant was computed from, by id; itself if it was there before."""
        known = self._sources.get(tensor.untyped_storage())
        return {id(tensor): tensor.detach()} if known is None else known

    def derived(self, results: Iterable[Tensor], arguments: Iterable[Tensor]) -> None:
        """Note that constants were computed from others (from none, if they were created)."""
        sources: dict[int, Tensor] = {}
        for argument in arguments:
            sources.update(self.sources(argument))
        for result in results:
            storage = result.untyped_storage()
            self._sources[storage] = {**self._sources.get(storage, {}), **sources}

    def tensors(self) -> list[Tensor]:
        """Return the constants that were asked about."""
        return [*self._neutral.values(), *(source for source, _ in self._unchanged.values())]

    def hold(self) -> bool:
        """Return whether every answer is what it was."""
        return all(map(all_neutral, self._neutral.values())) and all(
            source.shape == copy.shape and torch.equal(source, copy) for source, copy in self._unchanged.values()
        )


def all_neutral(tensor: Tensor) -> bool:
    """Return whether a tensor holds only zeros and infinities."""
    tensor = tensor.detach()
    if not tensor.any():
        return True
    return tensor.dtype.is_floating_point and bool(((tensor == 0) | tensor.isinf()).all())
