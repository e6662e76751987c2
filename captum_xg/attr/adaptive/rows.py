"""Gradients of all examples as they came, and the sums over them that integration asks for, in float64.

Rows are numbered in the order in which they came. They stay in their dtype and on their device, and are widened in
parts: differences of rows that are nearly the same are what errors are told from.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from captum_xg.attr.adaptive.samples import Array, Indices

_CHUNK = 2**22
"""Numbers that are widened to float64 at once."""


class Rows:
    """Gradients along the paths of several examples, which are multiplied by the paths' displacements.

    Args:
        displacements: One for each example, shape ``(N, D)``.
    """

    def __init__(self, displacements: Tensor) -> None:
        self._displacements = displacements.to(torch.float64)
        self._blocks: list[Tensor] = []
        self._starts: list[int] = []
        self._count = 0

    @property
    def device(self) -> torch.device:
        """Where sums over the rows are taken."""
        return self._displacements.device

    @property
    def features(self) -> int:
        """How many entries a row has."""
        return self._displacements.shape[1]

    def add(self, block: Tensor) -> int:
        """Add rows, and return the number of the first."""
        first = self._count
        self._blocks.append(block)
        self._starts.append(first)
        self._count += len(block)
        if self._count * self.features <= _CHUNK:
            # Many small blocks cost more time to look through than to copy.
            self._blocks, self._starts = [torch.cat(self._blocks)], [0]
        return first

    def products(self, examples: Indices, new: Indices, old: Indices) -> tuple[Array, Array]:
        """Return inner products of new rows with old and new ones, and the sums of their entries.

        Args:
            examples: B of them.
            new: Numbers of k rows of each, shape ``(B, k)``.
            old: Numbers of n rows of each, shape ``(B, n)``.

        Returns:
            Arrays of shape ``(B, k, n + k)`` and ``(B, k)``.
        """
        numbers = np.concatenate([old, new], axis=1)
        first = old.shape[1]
        products = torch.zeros(*new.shape, numbers.shape[1], dtype=torch.float64, device=self.device)
        sums = torch.zeros(*new.shape, dtype=torch.float64, device=products.device)
        places = torch.from_numpy(examples)
        for columns in self._parts(numbers.size):
            rows = self._wide(numbers, columns) * self._displacements[places, columns].unsqueeze(1)
            own = rows[:, first:]
            sums += own.sum(2)
            products += own @ rows.transpose(1, 2)
        return products.cpu().numpy(), sums.cpu().numpy()

    def means(self, numbers: Indices, weights: Array) -> Tensor:
        """Return weighted sums of rows, not multiplied by the displacements, shape ``(B, D)``."""
        by_row = torch.from_numpy(weights).to(self.device).unsqueeze(1)
        total = torch.empty(len(numbers), self.features, dtype=torch.float64, device=self.device)
        for columns in self._parts(numbers.size):
            total[:, columns] = (by_row @ self._wide(numbers, columns)).squeeze(1)
        return total

    def _parts(self, rows: int) -> Iterator[slice]:
        step = max(_CHUNK // rows, 1)
        for start in range(0, self.features, step):
            yield slice(start, start + step)

    def _wide(self, numbers: Indices, columns: slice) -> Tensor:
        flat = numbers.ravel()
        if len(self._blocks) == 1:
            return self._blocks[0][:, columns][torch.from_numpy(flat)].to(torch.float64).view(*numbers.shape, -1)
        width = len(range(*columns.indices(self.features)))
        found = torch.empty(flat.size, width, dtype=torch.float64, device=self.device)
        for start, block in zip(self._starts, self._blocks, strict=True):
            inside = np.flatnonzero((flat >= start) & (flat < start + len(block)))
            if len(inside):
                own = block[:, columns][torch.from_numpy(flat[inside] - start)]
                found[torch.from_numpy(inside)] = own.to(torch.float64)
        return found.view(*numbers.shape, width)
