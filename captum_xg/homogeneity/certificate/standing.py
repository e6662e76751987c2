"""What a certificate stands on, beside the numbers in its model: the forward function as it was, by its fingerprint.

The same description as a kept proof's, without the form of the inputs, and the assumptions about constants. It belongs
to one object in one process: a copy of a certificate, or one that was stored, has none.

What must never happen: a certificate keeps a model alive. So objects are referred to weakly where they can be, and one
that is gone makes it stale, as another may have taken its address.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Hashable, Iterable
from types import MethodType
from typing import Any

from captum_xg._core.reflection import is_a
from captum_xg.homogeneity.certificate.assumptions import Assumptions
from captum_xg.homogeneity.certificate.fingerprint import state_of


class Standing:
    """What a certificate of one forward function stands on.

    Args:
        forward_func: F.
        assumptions: What the proof takes for granted about constants.
    """

    def __init__(self, forward_func: Callable[..., object], assumptions: Assumptions) -> None:
        self._of = _weakly(forward_func)
        self._state, anchors = state_of(forward_func)
        self._alive, self._kept = _held(anchors)
        self._assumptions = assumptions

    def is_of(self, forward_func: Callable[..., object]) -> bool:
        """Return whether this very object was certified; of another one nothing is known here."""
        known = None if self._of is None else self._of()
        bound = is_a(known, MethodType) and is_a(forward_func, MethodType)
        return known is forward_func or (bound and bool(known == forward_func))

    def holds(self, forward_func: Callable[..., object]) -> bool:
        """Return whether the object that was certified is what it was, and so are the constants that were looked at."""
        alive = all(anchor() is not None for anchor in self._alive)
        state: Hashable = state_of(forward_func)[0]
        return alive and state == self._state and self._assumptions.hold()

    def __deepcopy__(self, memo: object) -> None:
        return None

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _nothing, ()


def _held(anchors: Iterable[object]) -> tuple[list[Callable[[], object]], list[object]]:
    """Return weak references to objects, and themselves where there are none and they lead to no model."""
    alive, kept = [], list[object]()
    for anchor in anchors:
        if (found := _weakly(anchor)) is not None:
            alive.append(found)
        elif parts := [part for part in gc.get_referents(anchor) if gc.is_tracked(part)]:
            # A list of layers: where it is gone, so is what only it has held, or its description is another one.
            alive += [found for part in parts if (found := _weakly(part)) is not None]
        else:
            kept.append(anchor)
    return alive, kept


def _weakly(thing: Any) -> Callable[[], object] | None:
    """Return a weak reference, None to what takes none: lists, numbers and the like."""
    try:
        # Bound methods are made anew each time that they are asked for.
        return weakref.WeakMethod(thing) if is_a(thing, MethodType) else weakref.ref(thing)
    except TypeError:
        return None


def _nothing() -> None:
    return None
