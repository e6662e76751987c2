"""A batch of a data set as it is explained: inputs, labels, and at which positions its examples stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_xg._core.batches import moved, taken_apart
from captum_xg._core.function import additional_arguments, has_rows
from captum_xg._core.types import Arguments, Tensors
from captum_xg.datasets.attributions.example_digest import example_digests
from captum_xg.errors import InputError

WHERE = "explain_dataset"
_ALIGNED = 64

Split: TypeAlias = Callable[[Any], tuple[Any, Any]]
"""From a batch to what the model is called with (a tensor or a tuple of tensors) and labels, or None in their place."""


@dataclass(frozen=True)
class Batch:
    """Examples of a data set.

    Attributes:
        positions: Where they stand in it.
        inputs: What the model is called with, ``(N, …)`` each.
        labels: Their classes, int64 ``(N,)``; None if the data have none.
        additional: What follows the inputs in a call.
    """

    positions: tuple[int, ...]
    inputs: Tensors
    labels: Tensor | None
    additional: Arguments = ()

    def __len__(self) -> int:
        return len(self.positions)

    def of(self, rows: Sequence[int]) -> Batch:
        """Return some of the examples."""
        n, chosen = len(self), torch.tensor(list(rows))
        return Batch(
            tuple(self.positions[i] for i in rows),
            tuple(x[chosen.to(x.device)] for x in self.inputs),
            None if self.labels is None else self.labels[chosen],
            tuple(a[chosen.to(a.device)] if has_rows(a, n) else a for a in self.additional),
        )

    def copied(self) -> Batch:
        """Return it with tensors of its own, as an iterable may fill the same memory again."""
        labels = None if self.labels is None else self.labels.clone()
        additional = tuple(value.clone() if isinstance(value, Tensor) else value for value in self.additional)
        return Batch(self.positions, tuple(map(torch.clone, self.inputs)), labels, additional)

    def digests(self) -> Tensor:
        """Return the digests of its examples, int64 ``(N,)``: those of their inputs."""
        return example_digests(self.inputs)

    def argument_digests(self) -> Tensor:
        """Return the digests of what follows each example's inputs in a call, int64 ``(N,)``."""
        n, several = len(self), []
        for value in self.additional:
            rows = n if has_rows(value, n) else 1
            # Flat, as with one example nobody can tell a row from what belongs to all.
            whole = value.detach() if isinstance(value, Tensor) else _as_tensor(value)
            several.append(whole.reshape(rows, -1).expand(n, -1))
        return example_digests(several or [torch.empty(n, 0)])

    def on(self, device: torch.device | None) -> Batch:
        """Return it with what the model is called with on a device."""
        if device is None or device.type == "cpu":
            return self
        return replace(self, inputs=moved(self.inputs, device), additional=moved(self.additional, device))


def parts_of(content: object, split: Split | None) -> tuple[Tensors, object, Arguments]:
    """Return inputs, labels or what is in their place, and additional arguments of what a loader gave.

    Raises:
        InputError: If it has another form.
    """
    if split is None:
        parts = taken_apart(content, WHERE)
        inputs, target, additional = parts.inputs, parts.target, additional_arguments(parts.additional)
    else:
        found = split(content)
        if not (isinstance(found, tuple) and len(found) == 2):
            raise InputError(
                f"{WHERE}: `split` must return (inputs, labels), with None for labels where there are none, but returns"
                f" {type(found).__name__}."
            )
        inputs, target, additional = *found, ()
    several = inputs if isinstance(inputs, tuple) else (inputs,)
    kinds = [type(x).__name__ for x in several if not (isinstance(x, Tensor) and x.dim())]
    if kinds or not several:
        raise InputError(
            f"{WHERE}: the inputs of a batch must be tensors with one row for each example, but "
            f"{', '.join(kinds) or 'nothing'} is among them. A `split` function can bring batches into (inputs, "
            "labels)."
        )
    return several, target, additional


def batch_of(content: object, positions: tuple[int, ...], split: Split | None) -> Batch:
    """Return what a loader gave as a batch.

    Raises:
        InputError: If it has another form, or not as many examples as it should.
    """
    inputs, target, additional = parts_of(content, split)
    if any(len(x) != len(positions) for x in inputs):
        counts = " and ".join(str(len(x)) for x in inputs)
        raise InputError(
            f"{WHERE}: a batch of {len(positions)} examples, {positions[0]} to {positions[-1]}, has inputs of {counts} "
            "rows. A collate_fn must give one row for each example, and leave none out: a data set that gives None, or "
            "raises, in place of an example has it noted as one that cannot be read."
        )
    return Batch(positions, tuple(map(_aligned, inputs)), _labels(target, len(positions)), additional)


def _aligned(x: Tensor) -> Tensor:
    """Return a tensor of the CPU at an address as PyTorch's own tensors have it, copied there if it is at another one.

    Matrix products round otherwise where memory is aligned otherwise; that of NumPy is from run to run.
    """
    return x.clone() if x.is_cpu and x.layout == torch.strided and x.data_ptr() % _ALIGNED else x


def _as_tensor(value: object) -> Tensor:
    """Return a tensor that tells a plain value from others, and of other things their type."""
    plain = value is None or isinstance(value, (bool, int, float, complex, str))
    return torch.tensor(list((repr(value) if plain else type(value).__name__).encode()), dtype=torch.uint8)


def _labels(target: object, n: int) -> Tensor | None:
    """Return classes; None for what is no class of each example, such as a number to be predicted or a mask."""
    if not isinstance(target, Tensor) or target.dtype.is_floating_point or target.dtype.is_complex:
        return None
    flat = target.detach().to("cpu").reshape(len(target), -1) if target.dim() else target.detach().reshape(1, 1)
    return flat[:, 0].to(torch.int64) if flat.shape == (n, 1) else None
