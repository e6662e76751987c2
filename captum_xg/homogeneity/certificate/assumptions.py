"""Assumptions: what a proof has asked about constants, so that it can be asked again when they may have changed.

A proof is of one set of numbers only where it looked at them. ``x @ w`` has degree 1 whatever w is; ``x @ w + b`` has
it if b is zero, which is then an assumption. A constant that exists before the forward pass (parameter, buffer,
captured tensor) is a *source*; assumptions about one that is computed in the pass are assumptions about its sources.

Example: in ``x + (a - b)`` the difference is asked about, and gone after the pass. So the proof depends on all values
of a and b. The same holds for constants that are read out of memory that also holds values of the input, such as
``torch.cat([x, a])[:, 3:]``: sources are followed through every operation, not only through those on constants.

What must never happen: an answer is used and not written down, or written down of a tensor that nobody will change
again. What cannot be compared later makes the proof hold for this one call.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from captum_xg._core.contents import all_zero, entries, parts_of, same
from captum_xg._core.reflection import plainly
from captum_xg._core.storage import has_storage, shares_memory

_LARGE = 2**16
"""Elements from which on a tensor is looked at by itself, without copying it."""


class _Origin:
    """What the numbers in some memory were computed from.

    Attributes:
        constants: Tensors that were there before the pass.
        computed: The origins of those that were computed in it. A graph, and no flat list: that would grow with each
            layer, and hardly ever be read.
    """

    __slots__ = ("computed", "constants")

    def __init__(self, constants: list[Tensor], computed: list[_Origin]) -> None:
        self.constants = constants
        self.computed = computed

    def sources(self) -> dict[Hashable, Tensor]:
        """Return all constants that went into it, by what tells them apart."""
        found: dict[Hashable, Tensor] = {}
        rest, seen = [self], {id(self)}
        while rest:
            origin = rest.pop()
            found.update((_key(tensor), tensor.detach()) for tensor in origin.constants)
            new = [part for part in origin.computed if id(part) not in seen]
            seen.update(map(id, new))
            rest += new
        return found


class Assumptions:
    """The answers about values of constants that a proof rests on: these are zero, those are unchanged."""

    def __init__(self) -> None:
        self._zero: dict[Hashable, Tensor] = {}
        self._grouped: list[list[Tensor]] | None = None
        self._unchanged: dict[Hashable, tuple[Tensor, Tensor]] = {}
        self._unanswerable = False
        # Weak, so that no activation is kept alive.
        self._origins: WeakKeyDictionary[torch.UntypedStorage, _Origin] = WeakKeyDictionary()
        self._without_storage = WeakIdKeyDictionary()  # origins of sparse tensors and the like

    def is_zero(self, tensor: Tensor) -> bool:
        """Return whether a constant tensor holds only zeros, and make the proof depend on it if so."""
        values = tensor.detach()
        if values.numel() > _LARGE and has_storage(values) and values[(0,) * values.dim()]:
            return False  # most weights show at once that they are not
        if not all_zero(values):
            return False
        if self._origin_of(tensor) is not None:
            self.read(tensor)
        else:
            self._zero[_key(tensor)] = tensor.detach()
            self._grouped = None
        return True

    def is_neutral(self, tensor: Tensor) -> bool:
        """Return whether a constant tensor holds only zeros and infinities, and make the proof depend on it if so."""
        if self.is_zero(tensor):
            return True
        numbers = entries(tensor)
        if numbers is None or not tensor.dtype.is_floating_point:
            return False
        if not all(bool(((values == 0) | values.isinf()).all()) for values in numbers):
            return False
        self.read(tensor)
        return True

    def read(self, tensor: Tensor) -> None:
        """Make the proof depend on every value of a constant tensor."""
        for key, source in self._sources_of(tensor).items():
            if key in self._unchanged:
                continue
            copy = _copied(source)
            if copy is None:
                self._unanswerable = True  # of a kind that cannot be compared, so the proof holds this once
            else:
                self._unchanged[key] = (source, copy)

    def note_computed(self, results: Iterable[Tensor], arguments: Iterable[Tensor]) -> None:
        """Note that tensors were computed from others (from none, if they are inputs or were created)."""
        constants: list[Tensor] = []
        computed: list[_Origin] = []
        for argument in arguments:
            origin = self._origin_of(argument)
            if origin is None:
                constants.append(argument)
            else:
                computed.append(origin)
        for result in results:
            before = self._origin_of(result)  # if it is written to, perhaps in part
            origin = _Origin(constants, computed if before is None else [*computed, before])
            if has_storage(result):
                self._origins[result.untyped_storage()] = origin
            else:
                self._without_storage[result] = origin

    def derived_from(self, tensor: Tensor, others: list[Tensor]) -> bool:
        """Return whether a constant was computed from one of others, or is one of them.

        Integers count if nothing else went into it: what a table holds at their place comes from the table.
        """
        sources = list(self._sources_of(tensor).values())
        among = [source for source in sources if shares_memory(source, others)]
        floating = any(source.dtype.is_floating_point or source.dtype.is_complex for source in among)
        return floating or (bool(among) and len(among) == len(sources))

    def sources(self, tensor: Tensor) -> list[Tensor]:
        """Return the constants that a tensor was computed from; itself if it was there before the pass."""
        return list(self._sources_of(tensor).values())

    def tensors(self) -> list[Tensor]:
        """Return the constants that were asked about."""
        return [*self._zero.values(), *(source for source, _ in self._unchanged.values())]

    def hold(self) -> bool:
        """Return whether every answer is what it was."""
        with plainly():
            return self._hold()

    def _hold(self) -> bool:
        if self._unanswerable:
            return False
        if self._grouped is None:
            self._grouped = _grouped(list(self._zero.values()))
        zero = all(all_zero(torch.cat(group) if len(group) > 1 else group[0]) for group in self._grouped)
        return zero and all(same(source, copy) for source, copy in self._unchanged.values())

    def _sources_of(self, tensor: Tensor) -> dict[Hashable, Tensor]:
        """Return what a constant was computed from; itself if it was there before."""
        origin = self._origin_of(tensor)
        return {_key(tensor): tensor.detach()} if origin is None else origin.sources()

    def _origin_of(self, tensor: Tensor) -> _Origin | None:
        origin: _Origin | None
        if has_storage(tensor):
            origin = self._origins.get(tensor.untyped_storage())
        else:
            origin = self._without_storage.get(tensor)  # type: ignore[no-untyped-call]
        return origin


def _copied(source: Tensor) -> Tensor | None:
    if parts_of(source) is None:
        return None
    try:
        return source.clone()
    except (RuntimeError, NotImplementedError):  # quantised by channel
        return None


def _key(tensor: Tensor) -> Hashable:
    # Not the tensor's id: what is asked about may be a passing view, and its id be given to another.
    if not has_storage(tensor):
        return id(tensor)
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _grouped(tensors: list[Tensor]) -> list[list[Tensor]]:
    """Return small tensors of a kind as lists of vectors: one look for all of them is one wait on an accelerator."""
    alike: dict[Hashable, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.numel() > _LARGE or not has_storage(tensor) or not tensor.is_contiguous():
            alike[id(tensor)] = [tensor]
        else:
            alike.setdefault((tensor.device, tensor.dtype), []).append(tensor.view(-1))
    return list(alike.values())
