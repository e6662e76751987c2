"""The three questions: log P by Crippen, whose truth per atom is known, and two measured properties.

The parts are fixed, so that networks and seeds are compared on the same test molecules: solubility has its own, of the
others a fifth is kept for the test. Nothing is chosen by the test part, nor by any other: recipes are the same for both
networks, and were set beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_xg.datasets.molecules import Molecules
from captum_xg.errors import OptionError

LOG_P, SOLUBILITY, FREESOLV = "log P", "solubility", "FreeSolv"
TASKS = (LOG_P, SOLUBILITY, FREESOLV)
_TEST_SHARE, _SEED = 5, 0


@dataclass(frozen=True)
class Task:
    """What a network learns.

    Attributes:
        name: One of :data:`TASKS`.
        train: Molecules of the training part.
        test: And of the test part.
        target: From molecules to what is learnt of each, ``(n,)``.
        shift: What is taken from each target first: a network without biases gives 0 for nothing, as log P is, while
            measured values have their mean over the training part taken away, for both networks, and put back.
    """

    name: str
    train: Molecules
    test: Molecules
    target: Callable[[Molecules], NDArray[np.float64]]
    shift: float

    def targets(self, molecules: Molecules) -> Tensor:
        """Return what a network is to give for these, ``(n,)``, float64."""
        return torch.from_numpy(self.target(molecules) - self.shift)


def tasks_of(molecules: Molecules, *, most: int | None = None) -> dict[str, Task]:
    """Return the tasks that there are molecules for.

    Args:
        molecules: All of them.
        most: Of a part; the first ones in the order in which they are drawn. All by default.

    Raises:
        OptionError: If there is no task that they are enough for.
    """
    found: dict[str, Task] = {}
    parts = {LOG_P: _log_p_parts(molecules), SOLUBILITY: _named(molecules, "solubility/train", "solubility/test")}
    measured = np.flatnonzero(molecules.part == "freesolv")
    parts[FREESOLV] = _drawn(measured)
    for name, (train, test) in parts.items():
        if min(len(train), len(test)) < 2:
            continue
        kept = [molecules.take(_order(part)[:most]) for part in (train, test)]
        target = _totals if name == LOG_P else _values
        shift = 0.0 if name == LOG_P else float(target(kept[0]).mean())
        found[name] = Task(name, kept[0], kept[1], target, shift)
    if not found:
        raise OptionError(f"There are too few molecules for any of the tasks: {molecules}.")
    return found


def _log_p_parts(molecules: Molecules) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    train, test = _named(molecules, "generated/train", "generated/test")
    if len(train):
        return train, test
    # Molecules that were measured twice stand twice; here each counts once, and cannot be in both parts.
    return _drawn(np.sort(np.unique(molecules.smiles, return_index=True)[1]))


def _named(molecules: Molecules, *parts: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    train, test = (np.flatnonzero(molecules.part == part) for part in parts)
    return train, test


def _drawn(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = _order(rows)
    test = len(rows) // _TEST_SHARE
    return order[test:], order[:test]


def _order(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.random.default_rng(_SEED).permutation(rows))


def _totals(molecules: Molecules) -> NDArray[np.float64]:
    return molecules.totals


def _values(molecules: Molecules) -> NDArray[np.float64]:
    return molecules.value
