"""What the modules of a model hold in Python, flags and containers among them, kept as it was before a pass.

Example: ``if not self.ready: self.scale.copy_(x.std()); self.ready = True``. Who puts the buffer back and leaves the
flag has a model that is never initialised. So where tensors are put back, attributes are, too: the buffers, parameters
and submodules that a module holds, what it has replaced or added, and what its lists, dictionaries, sets and plain
objects hold.

What must never happen: a model is half put back, or loses what nothing has changed. So only what differs is touched.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from captum_xg._core.reflection import attribute, held_by

# By id: comparing classes may run code of a metaclass.
_SCALARS = frozenset(map(id, (bool, int, float, str, tuple, type(None), Tensor, nn.Parameter)))
_FLAGS = frozenset(map(id, (bool, str, type(None))))
_CONTAINERS = frozenset(map(id, (dict, OrderedDict, defaultdict, list, set, deque)))
_DEEPEST = 2
"""So deep containers in containers are looked into."""
_LONG = 64
"""From so many entries on a container in a module is data or a record: what it holds is kept, not what that holds."""
_PASSED_OVER = frozenset(vars(nn.Module())) - {"training", "_parameters", "_buffers", "_modules"}
"""What every module has: its hooks, which observers of a pass take away themselves."""
_LIBRARIES = frozenset({*sys.stdlib_module_names, "torch", "numpy"})


class ModuleAttributes:
    """The Python attributes of modules as they are now.

    Args:
        modules: The modules.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._held: dict[int, tuple[Any, Any]] = {}
        for module in modules:
            # Not by own_attributes, which looks for slots as well: this is done at every call of an explainer.
            attributes = attribute(module, "__dict__")
            if type(attributes) is dict:
                self._keep(attributes, _DEEPEST)

    def differ(self) -> bool:
        """Return whether anything is held that was not held before, or no longer."""
        return any(not _same(now, before) for now, before in self._held.values())

    def tell_of_a_start(self) -> bool:
        """Return whether a flag has turned, or something is held that was not: a model that has begun says so.

        Tensors that are replaced and numbers that are counted up say nothing of that kind.
        """
        return any(_turned(now, before) for now, before in self._held.values())

    def put_back(self) -> None:
        """Let modules and their containers hold what they held."""
        for now, before in self._held.values():
            if not _same(now, before):
                _fill(now, before)

    def _keep(self, container: Any, depth: int) -> None:
        if id(container) in self._held:
            return
        self._held[id(container)] = container, container.copy()
        if not depth or (depth < _DEEPEST and len(container) >= _LONG):
            return
        named = dict.items(container) if isinstance(container, dict) else enumerate(container)
        for name, value in list(named):
            if id(type(value)) in _SCALARS or (type(name) is str and name in _PASSED_OVER):
                continue
            inner = value if id(type(value)) in _CONTAINERS else _attributes_of(value)
            if inner is not None:
                self._keep(inner, depth - 1)


def _attributes_of(value: object) -> dict[str, Any] | None:
    """Return the attributes of a plain object: of no library's class, and no module, which is kept by itself."""
    kind = type(value)
    if kind is SimpleNamespace:
        return vars(value)
    if issubclass(kind, (nn.Module, Tensor, type)):
        return None
    place = kind.__dict__.get("__module__")
    if not isinstance(place, str):
        return None
    if place.partition(".")[0] in _LIBRARIES or any("__slots__" in base.__dict__ for base in kind.__mro__):
        return None
    held = held_by(value)
    return held if type(held) is dict else None


def _same(now: Any, before: Any) -> bool:
    """Return whether two containers hold the same objects."""
    if len(now) != len(before):
        return False
    if isinstance(now, set):
        return {id(value) for value in now} == {id(value) for value in before}
    pairs = zip(_flat(now), _flat(before), strict=True)
    return all(a is b for a, b in pairs)  # by identity: comparing tensors gives tensors


def _turned(now: Any, before: Any) -> bool:
    if len(now) != len(before):
        return True
    if isinstance(now, set):
        return not _same(now, before)
    pairs = zip(_flat(now), _flat(before), strict=True)
    return any(a is not b and id(type(b)) in _FLAGS for a, b in pairs)


def _flat(container: Any) -> list[object]:
    return [*container, *container.values()] if isinstance(container, dict) else list(container)


def _fill(now: Any, before: Any) -> None:
    if isinstance(now, dict) and list(now)[: len(before)] == list(before):  # all of them in their order
        for added in list(now)[len(before) :]:
            del now[added]
        now.update(before)
        return
    now.clear()
    (now.extend if isinstance(now, (list, deque)) else now.update)(before)
