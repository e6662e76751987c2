"""Outputs of a model with every number in them multiplied by one factor per example, or refused.

What must never happen: that a number is missed, so that one part of what a model returns scales and another does not.
So whatever may hold tensors in a place where they cannot be replaced is refused, and not returned as it is.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import SUPPORTED_NODES

from captum_xg.errors import ForwardOutputError

_T = TypeVar("_T")
_DEPTH = 8
"""How many objects deep is looked for tensors that cannot be scaled where they are."""


def scaled_outputs(outputs: _T, factor: Tensor, where: str) -> _T:
    """Return the outputs with every floating-point and complex tensor in them multiplied by one factor per example.

    Tuples, lists, dicts, dataclasses, classes derived from them and containers that PyTorch has been told of
    (``torch.utils._pytree``) keep their class; the originals are left as they are. Whole numbers, booleans, text and
    plain Python numbers are returned as they are.

    Args:
        outputs: What a model returned for N examples.
        factor: Shape ``(N,)``.
        where: The public name that errors begin with.

    Raises:
        ForwardOutputError: For tensors without an entry per example, and for tensors in places that they cannot be
            replaced in.
    """
    return _Scaling(factor, where).of(outputs, "what it returns")


class _Scaling:
    def __init__(self, factor: Tensor, where: str) -> None:
        self._factor = factor
        self._where = where
        self._done: dict[int, tuple[object, object]] = {}
        self._begun: set[int] = set()

    def of(self, value: _T, name: str) -> _T:
        """Return a value scaled; one that occurs twice is scaled once, and occurs twice in the result."""
        if id(value) in self._begun:
            raise self._refused(name, value, "that contains itself")
        if id(value) not in self._done:
            self._begun.add(id(value))
            # The value is kept, too, so that no other one gets its id.
            self._done[id(value)] = value, self._new(value, name)
            self._begun.discard(id(value))
        return cast("_T", self._done[id(value)][1])

    def _new(self, value: object, name: str) -> object:
        if isinstance(value, Tensor):
            return self._tensor(value, name)
        if isinstance(value, PackedSequence):
            raise self._refused(name, value, "in which examples do not lie in rows")
        if isinstance(value, (tuple, list, deque)):
            return self._sequence(value, [self.of(part, f"{name}[{i}]") for i, part in enumerate(value)], name)
        if isinstance(value, MutableMapping) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
            result = copy.copy(value)  # constructors may take anything, or compute things again
            if isinstance(value, MutableMapping) and isinstance(result, MutableMapping):
                for key in list(value):
                    result[key] = self.of(value[key], f"{name}[{key!r}]")
            return self._with_attributes(result, value, name)
        if (node := SUPPORTED_NODES.get(type(value))) is not None:
            parts, context = node.flatten_fn(value)
            return node.unflatten_fn([self.of(part, f"{name}[{i}]") for i, part in enumerate(parts)], context)
        if _hides_numbers(value, _DEPTH):
            raise self._refused(name, value, "in which tensors cannot be replaced")
        return value

    def _tensor(self, tensor: Tensor, name: str) -> Tensor:
        if not _holds_numbers(tensor):
            return tensor
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
            kind = "quantised" if tensor.is_quantized else "nested" if tensor.is_nested else str(tensor.layout)
            raise self._refused(name, tensor, f"that is {kind}")
        n = self._factor.shape[0]
        if tensor.dim() == 0 or tensor.shape[0] != n:
            raise ForwardOutputError(
                f"{self._where}: {name} is a tensor of shape {tuple(tensor.shape)} for {n} examples, so that its "
                "entries cannot be told to belong to one each. Return shape (N, …)."
            )
        return tensor * self._factor.to(tensor.dtype).reshape(-1, *[1] * (tensor.dim() - 1))

    def _sequence(
        self, value: tuple[object, ...] | list[object] | deque[object], parts: list[object], name: str
    ) -> object:
        if isinstance(value, (list, deque)):
            result = copy.copy(value)
            result.clear()
            result.extend(parts)
            return self._with_attributes(result, value, name)
        try:  # past a constructor of its own, which may take anything
            return self._with_attributes(tuple.__new__(type(value), parts), value, name)
        except TypeError:  # torch.return_types.max and the like
            return type(value)(parts)

    def _with_attributes(self, result: object, value: object, name: str) -> object:
        """Scale attributes, too: classes like transformers' ModelOutput keep every part as item and as attribute."""
        for attribute, held in _attributes(value):
            scaled = self.of(held, f"{name}.{attribute}")
            if scaled is not held:
                object.__setattr__(result, attribute, scaled)  # frozen ones as well
        return result

    def _refused(self, name: str, value: object, why: str) -> ForwardOutputError:
        return ForwardOutputError(
            f"{self._where}: {name} is a {type(value).__name__} {why}, so that it cannot be scaled. Return tensors of "
            "shape (N, …), or tuples, lists, dicts or dataclasses of such."
        )


def _holds_numbers(tensor: Tensor) -> bool:
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex or tensor.is_quantized


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    yield from getattr(value, "__dict__", {}).items()
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else tuple(slots):
            if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                yield slot, getattr(value, slot)


def _hides_numbers(value: object, depth: int) -> bool:
    """Return whether an object holds tensors, or arrays of NumPy, of numbers that scale."""
    if isinstance(value, Tensor):
        return _holds_numbers(value)
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fc"
    if isinstance(value, Iterator):  # nobody knows what is to come
        return True
    if not depth or isinstance(value, (type, nn.Module, str, bytes)):
        return False
    held = [part for _, part in _attributes(value)]
    if isinstance(value, functools.partial):
        held += [*value.args, *value.keywords.values()]
    if isinstance(value, Mapping):
        held += value.values()
    elif isinstance(value, (tuple, list, set, frozenset, deque)):
        held += value
    return any(_hides_numbers(part, depth - 1) for part in held)
