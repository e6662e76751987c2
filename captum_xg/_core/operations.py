"""The arguments of PyTorch's operations: by name, and the tensors among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from torch import Tensor
from torch._ops import OpOverload


def tensors_in(values: Iterable[object]) -> Iterator[Tensor]:
    """Yield all tensors in values, also those in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


@lru_cache(maxsize=4096)
def argument_names(op: OpOverload) -> tuple[tuple[str, bool, object], ...]:
    """Return name, whether it is written to, and default, for each argument of an operation."""
    return tuple(
        (a.name, a.alias_info is not None and a.alias_info.is_write, a.default_value if a.has_default_value() else None)
        for a in op._schema.arguments
    )


def arguments_by_name(op: OpOverload, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
    """Return every argument of a call by the name it has in the operation's schema."""
    named = {}
    for i, (name, _, default) in enumerate(argument_names(op)):
        named[name] = args[i] if i < len(args) else kwargs.get(name, default)
    return named
