"""One pass over a folder of attributions: examples in parts, each as numbers, as a map, and as shares of the map.

A *map* has one number per place: per pixel, feature or token. Channels of an image ``(C, H, W)`` and the parts of an
embedding ``(T, D)`` are summed, so that a map is ``(H, W)`` or ``(T,)``. All sums are of float64, example by example in
the order of the folder, so that they do not depend on how many examples are read at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from captum_xg._core.options import integer
from captum_xg.datasets.attributions import Attributions
from captum_xg.errors import OptionError, OptionTypeError


@dataclass(frozen=True)
class Part:
    """Some examples of a folder, one after the other.

    Attributes:
        rows: Which of the folder's examples these are.
        numbers: Attributions, float64, ``(n, …)``.
        signed: Their maps ``(n, *S)``: attributions summed over channels.
        absolute: Absolute attributions summed over channels, ``(n, *S)``.
        total: Σ of the absolute attributions, ``(n,)``.
        tokens: At each place ``(n, T)``, int64; None if the data are no texts.
    """

    rows: slice
    numbers: Tensor
    signed: Tensor
    absolute: Tensor
    total: Tensor
    tokens: Tensor | None

    def shares(self) -> Tensor:
        """Return absolute attributions as shares of their sum; 0 everywhere if there are none."""
        total = self.total.reshape(-1, *[1] * (self.absolute.dim() - 1))
        return torch.where(total > 0, self.absolute / total, 0.0)


@dataclass(frozen=True)
class Choice:
    """Which attributions of a folder are read.

    Attributes:
        found: The folder.
        target: Which of the targets of each example.
        input: Which of the inputs.
        batch_size: How many examples are in memory at a time.
        where: The public name that errors begin with.
    """

    found: Attributions
    target: int
    input: int
    batch_size: int
    where: str

    def parts(self) -> Iterator[Part]:
        """Yield all examples, in the order of the folder.

        Raises:
            OptionError: If attributions are not finite.
        """
        start = 0
        for batch in self.found.batches(self.batch_size):
            given = batch["attributions"]
            chosen = given[self.input] if isinstance(given, tuple) else given
            numbers = chosen[:, self.target].double()
            tokens = batch.get("tokens")
            signed, absolute = _map(numbers, tokens), _map(numbers.abs(), tokens)
            rows = slice(start, start := start + len(numbers))
            total = absolute.flatten(1).sum(1)
            if not bool(total.isfinite().all()):
                bad = int(batch["id"][~total.isfinite()][0])
                raise OptionError(
                    f"{self.where}: the attributions of example {bad} have NaN or infinity, and so no sum."
                )
            yield Part(rows, numbers, signed, absolute, total, tokens)


def chosen(found: object, target: object, input: object, batch_size: object, where: str) -> Choice:
    """Return what to read of a folder.

    Raises:
        OptionError: If it has no such target or input, or no example.
        FileError: If it holds no attributions.
    """
    if isinstance(found, (str, Path)):
        found = Attributions(found)
    if not isinstance(found, Attributions):
        raise OptionTypeError(
            f"{where}: `attributions` must be what explain_dataset returns, or the folder, but is "
            f"{type(found).__name__}."
        )
    if len(found) == 0:
        raise OptionError(f"{where}: the folder has attributions of no example, so that there is nothing to look at.")
    first = found[0]["attributions"]
    inputs = first if isinstance(first, tuple) else (first,)
    at_input = integer(input, "input", where, least=0)
    if at_input >= len(inputs):
        raise OptionError(f"{where}: `input` is {at_input}, but the model has {len(inputs)} input(s), counted from 0.")
    at_target, targets = integer(target, "target", where, least=0), len(inputs[at_input])
    if at_target >= targets:
        raise OptionError(
            f"{where}: `target` is {at_target}, but each example has attributions of {targets} target(s), counted from "
            "0 in the order that they were asked for."
        )
    return Choice(found, at_target, at_input, integer(batch_size, "batch_size", where, least=1), where)


def _map(numbers: Tensor, tokens: Tensor | None) -> Tensor:
    if numbers.dim() >= 4:
        return numbers.sum(1)
    if numbers.dim() == 3 and tokens is not None:
        return numbers.sum(2)
    return numbers.reshape(len(numbers), -1) if numbers.dim() == 1 else numbers
