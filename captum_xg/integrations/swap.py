"""X-Gradient in the place of Captum's Integrated Gradients, in code that imports Captum's, for a while.

A class is replaced wherever a module holds it, under whatever name: in ``captum.attr``, in Captum's own modules, and in
each that did ``from captum.attr import IntegratedGradients``. Each entry has classes of its own, so that leaving finds
every module that holds them, those imported in between as well. Example: PyG's ``CaptumExplainer`` looks up
``captum.attr.IntegratedGradients`` by name and checks ``__name__``; Quantus imports the name.

What must never happen: a module keeps a stand-in for good, or gets Captum's class back while an inner entry is in
force. What Captum's layer and neuron methods use inside of themselves is left, and so is this package, which compares
with Captum's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

from captum_xg._core.captum_compat import (
    IntegratedGradients,
    LayerIntegratedGradients,
    NeuronIntegratedGradients,
)
from captum_xg._core.options import one_of
from captum_xg.attr.explainer import OnViolation
from captum_xg.attr.layer_x_gradient import LayerXGradient
from captum_xg.attr.neuron_x_gradient import NeuronXGradient
from captum_xg.attr.x_gradient import XGradient

_OWN = f"{__name__.partition('.')[0]}."
_INSIDE = frozenset({LayerIntegratedGradients.__module__, NeuronIntegratedGradients.__module__})
"""Modules whose Integrated Gradients differentiate by something else than an input: no function of it is known."""
_ENTERING = threading.RLock()


@dataclass(eq=False)
class _Swap:
    """One entry.

    Attributes:
        places: What was found → what stands in its place.
    """

    places: dict[type, type]


_IN_FORCE: list[_Swap] = []


@contextmanager
def swapped_in(on_violation: OnViolation = "integrate") -> Iterator[None]:
    """Let code that uses Captum's Integrated Gradients use X-Gradient, unedited, until the block ends.

    :class:`captum.attr.IntegratedGradients`, ``LayerIntegratedGradients`` and ``NeuronIntegratedGradients`` become
    subclasses of themselves that compute as :class:`~captum_xg.XGradient`, :class:`~captum_xg.LayerXGradient` and
    :class:`~captum_xg.NeuronXGradient`, with their names and arguments. They are replaced in every module that has them
    as a global, Captum's own among them. Whatever happens in the block, everything is put back when it ends, also in
    modules imported in it. Blocks may be nested: the innermost counts. Objects that were made in the block stay what
    they are.

    The modules are those of the whole process: while the block lasts, all threads see the replacements. Entering and
    leaving is safe from several threads; the last one that entered counts. Classes that were put elsewhere than into a
    global of a module, such as a dictionary or a default argument, are not replaced.

    Args:
        on_violation: As of :class:`~captum_xg.XGradient`. ``"integrate"`` gives Integrated Gradients for every model
            and baseline, in closed form where that applies.

    Raises:
        OptionTypeError, OptionError: If ``on_violation`` has no such value.

    Example:
        >>> import captum.attr
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False), torch.nn.ReLU()), torch.rand(4, 3)
        >>> with swapped_in():
        ...     attributions = captum.attr.IntegratedGradients(model).attribute(x, target=1)
        >>> isinstance(captum.attr.IntegratedGradients(model), XGradient)
        False
    """
    one_of(on_violation, get_args(OnViolation), "on_violation", "swapped_in")
    swap = _enter(on_violation)
    try:
        yield
    finally:
        _leave(swap)


def _enter(on_violation: OnViolation) -> _Swap:
    with _ENTERING:
        originals = (IntegratedGradients, LayerIntegratedGradients, NeuronIntegratedGradients)
        there = tuple(_IN_FORCE[-1].places.values()) if _IN_FORCE else originals
        swap = _Swap(dict(zip(there, stand_ins(on_violation), strict=True)))
        _IN_FORCE.append(swap)
        _replace(swap.places)
        return swap


def _leave(swap: _Swap) -> None:
    with _ENTERING:
        at = _IN_FORCE.index(swap)
        del _IN_FORCE[at]
        back = {new: old for old, new in swap.places.items()}
        if at < len(_IN_FORCE):
            # Another thread has entered since and not yet left: it is to put back what was there before this one.
            inner = _IN_FORCE[at]
            inner.places = {back[old]: new for old, new in inner.places.items()}
            top = dict(zip(back, _IN_FORCE[-1].places.values(), strict=True))
            _replace(top)
        else:
            _replace(back)


def _replace(places: Mapping[type, type]) -> None:
    """Put classes in the place of others in the globals of all modules."""
    # By identity: names may be others, and comparing may be anything.
    replacements = {id(old): new for old, new in places.items()}
    for name, module in list(sys.modules.items()):
        namespace = getattr(module, "__dict__", None)
        if not isinstance(namespace, dict) or f"{name}.".startswith(_OWN):
            continue
        for key, value in list(namespace.items()):
            found = replacements.get(id(value))
            if found is not None and not (name in _INSIDE and key == IntegratedGradients.__name__):
                namespace[key] = found


def stand_ins(on_violation: OnViolation) -> tuple[type, type, type]:
    """Return new classes: both ours and Captum's, for whoever asks what they are or how they are called."""

    class InputMethod(XGradient, IntegratedGradients):  # type: ignore[misc]  # Captum has no types
        def __init__(self, forward_func: Any, multiply_by_inputs: bool = True) -> None:
            XGradient.__init__(self, forward_func, multiply_by_inputs, on_violation=on_violation)

    class LayerMethod(LayerXGradient, LayerIntegratedGradients):  # type: ignore[misc]
        def __init__(
            self, forward_func: Any, layer: Any, device_ids: list[int] | None = None, multiply_by_inputs: bool = True
        ) -> None:
            LayerXGradient.__init__(
                self, forward_func, layer, device_ids, multiply_by_inputs, on_violation=on_violation
            )

    class NeuronMethod(NeuronXGradient, NeuronIntegratedGradients):  # type: ignore[misc]
        def __init__(
            self, forward_func: Any, layer: Any, device_ids: list[int] | None = None, multiply_by_inputs: bool = True
        ) -> None:
            NeuronXGradient.__init__(
                self, forward_func, layer, device_ids, multiply_by_inputs, on_violation=on_violation
            )

    made = (InputMethod, LayerMethod, NeuronMethod)
    for stand_in, original in zip(
        made, (IntegratedGradients, LayerIntegratedGradients, NeuronIntegratedGradients), strict=True
    ):
        stand_in.__name__ = stand_in.__qualname__ = original.__name__
        stand_in.__doc__ = original.__doc__
    for position, stand_in in enumerate(made):
        # No module has these classes for good, where pickle could find them.
        setattr(stand_in, "__reduce__", _reduced(position, on_violation))  # noqa: B010  which is by that name
    return made


def _reduced(position: int, on_violation: OnViolation) -> Callable[[Any], tuple[Any, ...]]:
    return lambda self: (_made_again, (position, on_violation), vars(self))


def _made_again(position: int, on_violation: OnViolation) -> object:
    """Return an object without contents of such a class, for pickle and copy."""
    return object.__new__(stand_ins(on_violation)[position])
