"""What is found out before a run: how its batches are explained, tried on a few examples, and how its files are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from captum_xg._core.options import positive_integer
from captum_xg.attr.observed import Observed
from captum_xg.errors import HomogeneityError, InputError, OptionError
from captum_xg.scan.batch import WHERE, Batch
from captum_xg.scan.engines import ClosedForm, Engine, fallback_for
from captum_xg.scan.explaining import OnRefusal
from captum_xg.scan.probes import Probes, tried
from captum_xg.scan.targets import TargetRule

_SHARD = 2**25
"""Bytes of attributions that a shard has at most, unless a batch has more."""
_MOST = 1024
"""Examples that a shard has at most, unless a batch has more: what an interruption may cost."""


@dataclass(frozen=True)
class Plan:
    """What was found out beforehand.

    Attributes:
        engine: What explains batches.
        fallback: What integrates those that it refuses; None if nothing does.
        integrated: Why all are integrated; None if they are not.
        batch: A few examples.
        found: What they came to.
    """

    engine: Engine
    fallback: Engine | None
    integrated: str | None
    batch: Batch
    found: Observed


def planned(
    method: Any,
    engine: Engine,
    rule: TargetRule,
    on_violation: OnRefusal,
    probes: Probes,
    most: int,
    device: torch.device | None,
) -> Plan:
    """Return how batches are to be explained, tried out on a few examples."""
    moved = Probes(probes.digest, tuple(each.on(device) for each in probes.batches), probes.why)
    fallback = fallback_for(method, rule) if on_violation == "integrate" else None
    try:
        return Plan(engine, fallback, None, *tried(engine, moved, most if isinstance(engine, ClosedForm) else 1))
    except HomogeneityError as error:
        if fallback is None and isinstance(engine, ClosedForm):
            error.args = (
                f"{error.args[0]}\n  Nothing was explained. on_violation='integrate' (--on-violation integrate) "
                "integrates such a model, to a tolerance of 1 %.",
                *error.args[1:],
            )
        if fallback is None:
            raise
        reason = str(error).partition("\n")[0]
    return Plan(fallback, None, reason, *tried(fallback, moved, 1))


def are_texts(method: Any, batch: Batch) -> bool:
    """Return whether inputs are ids of tokens: integers in rows, explained by what a layer makes of them."""
    x = batch.inputs[0]
    return hasattr(method, "layer") and len(batch.inputs) == 1 and x.dim() == 2 and not x.dtype.is_floating_point


def input_names(names: Sequence[str] | None, count: int, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Return what the inputs are called: as asked, by the layers they are the outputs of, or by number.

    Raises:
        OptionError: If there are not as many names as inputs.
    """
    if names is None and layers is not None and len(layers) == count:
        return tuple(layers)
    if names is None:
        return ("input",) if count == 1 else tuple(f"input {i}" for i in range(count))
    if isinstance(names, str) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise OptionError(f"{WHERE}: `names` must be one text for each of the {count} inputs, but is {names!r}.")
    return tuple(names)


def size_of_shards(given: int | None, batch_size: int, found: Observed, dtype: torch.dtype, summed: bool) -> int:
    """Return how many positions a shard has: a multiple of the batch size."""
    last = found.attributions[0].shape[-1] if summed else 1
    if summed and min(a.dim() for a in found.attributions) < 4:
        raise InputError(f"{WHERE}: `sum_last` needs attributions of two dimensions, as those of a text's embedding.")
    numbers = sum(prod(a.shape[1:]) for a in found.attributions) // max(last, 1)
    if given is not None:
        return -(-positive_integer(given, "shard_size", WHERE) // batch_size) * batch_size
    batches = min(_SHARD // max(numbers * dtype.itemsize * batch_size, 1), _MOST // batch_size)
    return max(batches, 1) * batch_size
