"""The arguments of PyTorch's operations: by name, and the tensors among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch._ops import OpOverload


def tensors_in(values: Iterable[object]) -> Iterator[Tensor]:
    """Yield all tensors in values, also those in lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)


@dataclass(frozen=True)
class Schema:
    """What is asked of the schema of an operation whenever it runs, read once: PyTorch makes new objects each time.

    Attributes:
        name: Namespace and name without overload: ``"aten::add_"``.
        arguments: Name, whether it is written to, and default, for each argument.
        written: The names of the arguments that are written to.
        outs: The names of the arguments that results are put into.
        told: For each argument that is written to, its name and the number of the result that it becomes, or None.
        rewrites: For each result, whether it is what was written to.
        returned: The types of the results, in words.
        draws: It draws random numbers.
        sizes_up: The shape of its result depends on values.
    """

    name: str
    arguments: tuple[tuple[str, bool, object], ...]
    written: frozenset[str]
    outs: frozenset[str]
    told: tuple[tuple[str, int | None], ...]
    rewrites: tuple[bool, ...]
    returned: frozenset[str]
    draws: bool
    sizes_up: bool


@lru_cache(maxsize=4096)
def schema_of(op: OpOverload) -> Schema:
    """Return the schema of an operation."""
    schema = op._schema
    arguments = [(a, a.alias_info) for a in schema.arguments]
    returns = [(returned, returned.alias_info) for returned in schema.returns]
    written = [(a.name, set(alias.before_set)) for a, alias in arguments if alias is not None and alias.is_write]
    told = (
        next((i for i, (_, alias) in enumerate(returns) if alias is not None and names & set(alias.before_set)), None)
        for _, names in written
    )
    return Schema(
        name=schema.name,
        arguments=tuple(
            (a.name, alias is not None and alias.is_write, a.default_value if a.has_default_value() else None)
            for a, alias in arguments
        ),
        written=frozenset(name for name, _ in written),
        outs=frozenset(a.name for a, _ in arguments if a.is_out),
        told=tuple(zip((name for name, _ in written), told, strict=True)),
        rewrites=tuple(alias is not None and alias.is_write for _, alias in returns),
        returned=frozenset(str(returned.type) for returned, _ in returns),
        draws=torch.Tag.nondeterministic_seeded in op.tags,
        sizes_up=torch.Tag.dynamic_output_shape in op.tags,
    )


def arguments_by_name(op: OpOverload, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
    """Return every argument of a call by the name it has in the operation's schema."""
    named = {}
    for i, (name, _, default) in enumerate(schema_of(op).arguments):
        named[name] = args[i] if i < len(args) else kwargs.get(name, default)
    return named
