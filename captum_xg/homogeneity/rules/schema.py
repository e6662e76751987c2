"""Effects of operations, by their schema and where it omits them: writes, random draws, values handed to Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload

from captum_xg._core.operations import schema_of, tensors_in
from captum_xg.homogeneity.degree import Reason

_T = TypeVar("_T")

RANDOM = Reason("draws random numbers, so F(x) is no fixed function of x", "Call model.eval(), or leave it out")

_LAYOUT = frozenset(
    f"aten::{name}"
    for name in (
        *("is_pinned", "is_same_size", "size", "stride", "numel", "dim", "storage_offset", "is_contiguous"),
        *("is_coalesced", "_has_same_storage_numel"),
    )
)
"""Which give Python something that does not depend on values. All others that return no tensor hand over values."""

_UNTAGGED = frozenset(
    f"aten::{name}"
    for name in (
        *("_pack_padded_sequence", "_pad_packed_sequence", "_ctc_loss", "to_padded_tensor"),
        *(f"sparse_{kind}_tensor" for kind in ("coo", "compressed", "csr", "csc", "bsr", "bsc")),
        *(f"_nested_{rest}" for rest in ("tensor_from_mask", "from_padded", "view_from_jagged", "view_from_buffer")),
    )
)
"""Which do not say by a tag that shapes depend on values: on how many numbers are not zero, on lengths, on places."""
_DECIDING = frozenset(
    {
        *("lengths", "batch_sizes", "input_lengths", "target_lengths", "mask", "offsets", "cpu_nested_shape_example"),
        *("indices", "compressed_indices", "plain_indices", "crow_indices", "col_indices", "ccol_indices"),
        *("row_indices", "nested_size", "nested_strides"),
    }
)
"""Arguments of these whose values do."""

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
    schema = schema_of(func)
    if schema.rewrites:
        return len(schema.rewrites)
    return max(len(list(tensors_in(arguments[name] for name, _ in schema.told))), 1)


def written_values(
    func: OpOverload, arguments: Mapping[str, object], results: list[_T]
) -> Iterator[tuple[Tensor, _T | None]]:
    """Yield every tensor that an operation has written to, and how it scales now; None if no result tells."""
    schema = schema_of(func)
    if schema.name in _RESHAPING:
        return
    rest = iter(results)
    for name, number in schema.told:
        told = number is not None and number < len(results)
        for tensor in tensors_in([arguments[name]]):
            if told:
                assert number is not None
                yield tensor, results[number]
            else:
                yield tensor, None if schema.rewrites else next(rest, results[-1])
    in_training = schema.name in _WRITE_STATISTICS_IN_TRAINING and arguments["training"]
    if in_training or schema.name in _WRITE_STATISTICS:
        yield from ((t, None) for t in tensors_in([arguments["running_mean"], arguments["running_var"]]))


def shape_deciding(func: OpOverload, arguments: Mapping[str, object]) -> list[Tensor]:
    """Return the tensors whose values decide the shape of the result of an operation, or how much is in its memory."""
    names = _shape_deciding(func)
    tensors = list(tensors_in(arguments[name] for name in names)) if names else []
    masks = (torch.bool, torch.uint8)
    return [t for t in tensors if t.dtype in masks] if func._schema.name == "aten::index" else tensors


@lru_cache(maxsize=4096)
def _shape_deciding(func: OpOverload) -> tuple[str, ...]:
    """Return the names of the arguments whose values decide the shape of the result of an operation."""
    name, arguments = func._schema.name, tuple(argument.name for argument in func._schema.arguments)
    if name.startswith(("aten::to_sparse", "aten::_to_sparse")):
        return ("self",)
    if name in _UNTAGGED or name.startswith("aten::_sparse_"):
        return tuple(argument for argument in arguments if argument in _DECIDING)
    # The shape of a least-squares residual is that of full rank for all matrices but a null set.
    if torch.Tag.dynamic_output_shape not in func.tags or name == "aten::linalg_lstsq":
        return ()
    deciding = {"aten::masked_select": "mask", "aten::repeat_interleave": "repeats", "aten::index": "indices"}
    return (deciding[name],) if deciding.get(name) in arguments else arguments


def returns_values(func: OpOverload) -> bool:
    """Return whether an operation hands numbers, truth values or words to Python that depend on what tensors hold."""
    schema = schema_of(func)
    return any("Tensor" not in returned for returned in schema.returned) and schema.name not in _LAYOUT


def draws(func: OpOverload, arguments: Mapping[str, object]) -> bool:
    """Return whether an operation draws random numbers with these arguments: dropout need not."""
    if not schema_of(func).draws:
        return False
    off = any(arguments.get(name, True) is False for name in ("train", "training"))
    return not off and arguments.get("dropout_p", 1.0) != 0
