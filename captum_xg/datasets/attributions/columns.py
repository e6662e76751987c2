"""Columns over the shards of a folder, which are alike although not every shard has all of them, or texts as long.

A shard of unlabelled batches has no labels, one of closed forms no estimated errors, and one of short texts short
attributions. What a reader gets of any of them has one form: that of the whole folder.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from captum_xg.datasets.attributions.layout import NO_LABEL, NO_TOKEN
from captum_xg.datasets.attributions.shard import OpenShard

_FILLED = {"labels": NO_LABEL, "tokens": NO_TOKEN, "error": 0}
"""What stands for a column that only other shards have."""


def forms_of(shards: Iterable[OpenShard]) -> dict[str, tuple[int, ...]]:
    """Return the columns of all shards, and the largest shape that one example has in each."""
    found: dict[str, tuple[int, ...]] = {}
    for shard in shards:
        for name in shard.names if shard.kept else ():
            own = shard.shape(name)
            before = found.get(name, own)
            found[name] = tuple(map(max, own, before)) if len(own) == len(before) else before
    return found


def rows_of(shard: OpenShard, name: str, form: tuple[int, ...], start: int = 0, stop: int | None = None) -> Tensor:
    """Return rows of a column as they would be in the largest shard, of own memory or that of the file.

    Raises:
        FileError: If the shard lacks a column that every shard has.
    """
    if name in shard.names or name not in _FILLED:
        return padded(name, shard.rows(name, start, stop), form)
    like = shard.rows("gap" if name == "error" else "ids", start, stop)
    return torch.full((len(like), *form), _FILLED[name], dtype=like.dtype)


def padded(name: str, rows: Tensor, form: tuple[int, ...]) -> Tensor:
    """Return rows of texts with the length of the longest: attributions of zero, and no token."""
    tail = rows.shape[rows.dim() - len(form) :]
    if tail == form or rows.dim() <= len(form):
        return rows
    whole = torch.full((*rows.shape[: rows.dim() - len(form)], *form), _FILLED.get(name, 0), dtype=rows.dtype)
    whole[tuple(map(slice, rows.shape))] = rows
    return whole
