"""The value graph: which operation each number in memory came from, without keeping any tensor alive.

A :class:`Node` is what one storage held from one write to the next: immutable, unlike memory. It says which operation
wrote it, and of which other nodes. A :class:`Reading` is a tensor as a view of a node. Where an element lies in its
storage is its name: ``n``, ``n[:, None]`` and ``n.expand(3, 4)`` read the same elements, whatever their shapes.

Example: after ``n = x.norm(dim=1)`` the node of ``n`` says ``linalg_vector_norm`` of a reading of ``x``. After
``n[0] = 1`` its memory has another node, of which nothing is known, for only a part of it was written.

What must never happen: a node is read that is not what the memory holds. So a node counts only as long as the storage
has been written to as often as when it was noted, and memory that is read as numbers of another kind has none.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from captum_xg._core.storage import has_storage, is_dense
from captum_xg.homogeneity.certificate.shadow_memory import ShadowMemory

UNKNOWN = ""
"""The operation of a node of which nothing is known: a parameter, or memory that was written to in part."""

UNFOLLOWED = object()
"""What stands for a tensor that cannot be followed."""

INPUT = "input"
"""The operation of a node that is an input of the pass."""

_FUNCTIONS = frozenset(
    {
        *("abs", "relu", "square", "sqrt", "rsqrt", "pow", "mul", "sum", "mean", "amax", "amin", "norm", "_to_copy"),
        *("linalg_vector_norm", "gt", "ge", "lt", "le", "eq", "ne", "logical_not", "bitwise_not", "neg", "clone"),
        *("mm", "bmm", "add", "sub", "std", "var"),
    }
)
"""Operations of which equal arguments give equal numbers, in guards that people write twice."""
_SMALL = 4096
"""Up to so many elements a constant is looked through for infinities."""


@dataclass(frozen=True)
class Layout:
    """Where the elements of a tensor lie in its storage."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @staticmethod
    def of(tensor: Tensor) -> Layout:
        """Return that of a tensor."""
        return Layout(tuple(tensor.size()), tuple(tensor.stride()), int(tensor.storage_offset()))


@dataclass(eq=False)
class Node:
    """What a storage held from one write to the next.

    Attributes:
        operation: The operation of aten that wrote it, without the underscore of the in-place form.
        arguments: Its arguments by name, each tensor as a reading.
        layout: How the operation's result lies in the storage.
        dtype: Of its numbers.
        elements: How many there are in the storage.
        finite: Its numbers are finite wherever the inputs are.
        nonnegative: None of them is ever below zero.
        nonzero: None of them is ever zero.
        symmetric: The matrices in the last two dimensions of the result are equal to their transposes.
    """

    operation: str
    arguments: Mapping[str, object]
    layout: Layout
    dtype: torch.dtype
    elements: int
    finite: bool = False
    nonnegative: bool = False
    nonzero: bool = False
    symmetric: bool = False

    def places(self) -> Tensor:
        """Return for each element of the result where it lies in the storage."""
        return places(self.elements, self.layout)


@dataclass(frozen=True)
class Reading:
    """A tensor as a view of a node."""

    node: Node
    layout: Layout

    def places(self) -> Tensor:
        """Return for each element where it lies in the storage, in the shape of the tensor."""
        return places(self.node.elements, self.layout)


def places(elements: int, layout: Layout) -> Tensor:
    """Return for each element of a layout where it lies in a storage of so many elements."""
    return torch.arange(elements).as_strided(layout.size, layout.stride, layout.offset)


class ValueGraph:
    """Notes the nodes of the storages of one forward pass.

    Args:
        shadows: Counts how often memory is written to.
        finite: Tensors that were looked through for NaN and infinity, and have none.
    """

    def __init__(self, shadows: ShadowMemory, finite: Iterable[Tensor] = ()) -> None:
        self._shadows = shadows
        self._finite = WeakSet(t.untyped_storage() for t in finite if has_storage(t))
        self._equal: dict[Hashable, Node] = {}
        self._nodes: WeakKeyDictionary[torch.UntypedStorage, tuple[int, Node]] = WeakKeyDictionary()

    def add_input(self, tensor: Tensor) -> None:
        """Note an input of the pass, whose numbers are finite."""
        self.note(tensor, INPUT, {}).finite = True

    def read(self, tensor: object) -> Reading | None:
        """Return a tensor as a view of what its memory holds now; None for what cannot be followed."""
        if not isinstance(tensor, Tensor) or not _is_plain(tensor) or tensor.is_conj() or tensor.is_neg():
            return None
        storage = tensor.untyped_storage()
        known = self._nodes.get(storage)
        if known is None or known[0] != self._shadows.writes(tensor):
            node = self.note(tensor, UNKNOWN, {})
            node.finite = not self._shadows.knows(tensor) and self._holds_finite(tensor, node)
        else:
            node = known[1]
        # Complex numbers read as pairs, or bits as other numbers.
        return Reading(node, Layout.of(tensor)) if node.dtype == tensor.dtype else None

    def note(self, tensor: Tensor, operation: str, arguments: Mapping[str, object]) -> Node:
        """Note what has written a tensor, and return it."""
        storage = tensor.untyped_storage()
        node = Node(operation, arguments, Layout.of(tensor), tensor.dtype, storage.nbytes() // tensor.element_size())
        self._nodes[storage] = self._shadows.writes(tensor), node
        return node

    def note_result(self, tensor: Tensor, operation: str, arguments: Mapping[str, object]) -> Node | None:
        """Note the result of an operation, unless it cannot be followed or is part of other memory."""
        if not _is_plain(tensor) or not _is_whole(tensor):
            return None
        node = self.note(tensor, operation, arguments)
        key = _identity(node)
        if key is None:
            return node
        # Written twice, as in ``torch.where(x.norm() > 0, x / x.norm(), 0)``: the same numbers, so the same node.
        node = self._equal.setdefault(key, node)
        self._nodes[tensor.untyped_storage()] = self._shadows.writes(tensor), node
        return node

    def _holds_finite(self, tensor: Tensor, node: Node) -> bool:
        """Return whether all that a constant's memory holds is known to be finite."""
        if tensor.untyped_storage() in self._finite:
            return True
        return tensor.numel() == node.elements <= _SMALL and bool(tensor.detach().isfinite().all())


def _identity(node: Node) -> Hashable:
    """Return what nodes with the same numbers have in common; None if equal arguments do not give equal numbers."""
    if node.operation not in _FUNCTIONS:
        return None
    try:
        arguments = tuple((name, _hashable(value)) for name, value in node.arguments.items())
        identity = (node.operation, arguments, node.layout, node.dtype, node.elements)
        hash(identity)
    except TypeError:
        return None
    return identity


def _hashable(value: object) -> Hashable:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    if isinstance(value, Reading):
        return id(value.node), value.layout  # both are kept with the node
    if value is None or isinstance(value, (str, torch.dtype, torch.layout, torch.device, torch.memory_format)):
        return value
    if isinstance(value, (bool, int, float, complex)):
        return type(value), value, str(value)  # 0.0 and -0.0 differ
    raise TypeError


def without_tensors(value: object, readings: Mapping[int, Reading | None]) -> object:
    """Return an argument of an operation with each tensor in it as its reading, or as UNFOLLOWED."""
    if isinstance(value, Tensor):
        return readings.get(id(value)) or UNFOLLOWED
    if isinstance(value, (list, tuple)):
        return [without_tensors(part, readings) for part in value]
    return value


def _is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is numbers in memory, and nothing with operations of its own."""
    return has_storage(tensor) and type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__


def _is_whole(tensor: Tensor) -> bool:
    """Return whether a tensor takes each element of its memory once."""
    return is_dense(tensor) and tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
