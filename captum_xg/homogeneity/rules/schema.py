"""Effects of operations, by their schema and where it omits them: writes, random draws, values handed to Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload

from captum_xg._core.operations import argument_names, tensors_in
from captum_xg.homogeneity.degree import Reason

_T = TypeVar("_T")

RANDOM = Reason("draws random numbers, so F(x) is no fixed function of x", "Call model.eval(), or leave it out")

_LAYOUT = frozenset(
    f"aten::{name}"
    for name in ("is_pinned", "is_same_size", "size", "stride", "numel", "dim", "storage_offset", "is_contiguous")
)
"""Which give Python something that does not depend on values. All others that return no tensor hand over values."""

_RESHAPING = frozenset(
    f"aten::{name}_" for name in ("as_strided", "squeeze", "unsqueeze", "t", "transpose", "swapdims", "swapaxes")
)
"""Which let a tensor take its memory in another order, or another part of it, and write no number."""

_WRITE_STATISTICS = frozenset(
    f"aten::batch_norm_{name}" for name in ("update_stats", "gather_stats", "gather_stats_with_counts")
)
_WRITE_STATISTICS_IN_TRAINING = frozenset(f"aten::{name}_batch_norm" for name in ("native", "cudnn", "miopen"))
"""Which write to ``running_mean`` and ``running_var`` without saying so in their schema."""


def n_results(func: OpOverload, arguments: Mapping[str, object]) -> int:
    """Return how many scalings a rule gives: one for each result, or for each tensor written to if none is returned."""
    if func._schema.returns:
        return len(func._schema.returns)
    written = (arguments[name] for name, is_written, _ in argument_names(func) if is_written)
    return max(len(list(tensors_in(written))), 1)


def written_values(
    func: OpOverload, arguments: Mapping[str, object], results: list[_T]
) -> Iterator[tuple[Tensor, _T | None]]:
    """Yield every tensor that an operation has written to, and how it scales now; None if no result tells."""
    schema = func._schema
    if schema.name in _RESHAPING:
        return
    rest = iter(results)
    for argument in schema.arguments:
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        names = set(argument.alias_info.before_set)
        told = [
            result
            for returned, result in zip(schema.returns, results, strict=False)
            if returned.alias_info is not None and names & set(returned.alias_info.before_set)
        ]
        for tensor in tensors_in([arguments[argument.name]]):
            yield tensor, told[0] if told else None if schema.returns else next(rest, results[-1])
    in_training = schema.name in _WRITE_STATISTICS_IN_TRAINING and arguments["training"]
    if in_training or schema.name in _WRITE_STATISTICS:
        yield from ((t, None) for t in tensors_in([arguments["running_mean"], arguments["running_var"]]))


def shape_deciding(func: OpOverload, arguments: Mapping[str, object]) -> list[Tensor]:
    """Return the tensors whose values decide the shape of the result of an operation of which some do."""
    deciding = {"aten::masked_select": "mask", "aten::repeat_interleave": "repeats", "aten::index": "indices"}
    name = deciding.get(func._schema.name, "")
    tensors = list(tensors_in(arguments.values() if name not in arguments else [arguments[name]]))
    masks = (torch.bool, torch.uint8)
    return [t for t in tensors if t.dtype in masks] if name == "indices" else tensors


def returns_values(func: OpOverload) -> bool:
    """Return whether an operation hands numbers or truth values to Python that depend on what tensors hold."""
    types = {str(returned.type) for returned in func._schema.returns}
    return bool(types & {"bool", "int", "float", "number", "Scalar", "complex"}) and func._schema.name not in _LAYOUT


def draws(func: OpOverload, arguments: Mapping[str, object]) -> bool:
    """Return whether an operation draws random numbers with these arguments: dropout need not."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    off = any(arguments.get(name, True) is False for name in ("train", "training"))
    return not off and arguments.get("dropout_p", 1.0) != 0
