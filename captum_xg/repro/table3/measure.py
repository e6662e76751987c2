"""The benchmark of Table 3 on one network: its parts on disk, and how long each batch took.

The invariant: what is in the folder of a network is not computed again, part by part while it is unfinished, and as a
whole once it is done: then the network is not run at all. Under ``torchrun`` all processes call :func:`scores_of`
together, as the benchmark shares its batches among them and then gives all of them the result.
What must never happen: that one process goes on without the others, which would wait for it forever. So whether a
network is done is agreed on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from captum_xg._core.distributed import gathered, rank_and_processes
from captum_xg.benchmark import AttributionBenchmark
from captum_xg.repro.environment import commit
from captum_xg.repro.subjects import Subjects
from captum_xg.repro.table3.maskings import Masking, metrics_of
from captum_xg.repro.table3.printed import METHODS
from captum_xg.repro.table3.scores import plain
from captum_xg.repro.units import Unit, UnitFolder

BATCH = 20
"""Images that are one part."""
REFERENCES = 128
"""Images of the data, none of which is explained, of which Expected Gradients draws its references."""


class TimedBatches:
    """The batches of the images; how long each took, and with which commit, is put beside the parts of the benchmark.

    Args:
        subjects: The images.
        name: Of the network.
        store: Where it is put, once for each batch: the first time is that of the work.
    """

    def __init__(self, subjects: Subjects, name: str, store: UnitFolder) -> None:
        self._subjects, self._name, self._store = subjects, name, store
        n = len(subjects.labels)
        self.names = [f"{name}, images {i} to {min(i + BATCH, n) - 1}" for i in range(0, n, BATCH)]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rank, processes = rank_and_processes()
        for index, name in enumerate(self.names):
            batch = self._subjects.batch(index, BATCH)
            began = time.perf_counter()
            yield batch
            # Asked for the next one, the benchmark is done with this one, if it was this process that had it.
            if index % processes == rank and self._store.unit(name) is None:
                self._store.add(Unit(name, {}, time.perf_counter() - began, commit()))

    def effort(self) -> tuple[float, list[str]]:
        """Return how long all batches took, and the commits that they were done with."""
        found = [unit for name in self.names if (unit := self._store.unit(name)) is not None]
        return sum(unit.seconds for unit in found), sorted({unit.commit for unit in found})


def scores_of(
    model: nn.Module,
    name: str,
    subjects: Subjects,
    chosen: dict[str, Masking],
    folder: Path,
    settings: Mapping[str, object],
) -> Unit:
    """Return what the benchmark of a network came to; all processes call this.

    Args:
        model: The network.
        name: Its name in files.
        subjects: The images.
        chosen: The maskings.
        folder: Of the experiment.
        settings: What the numbers depend on.
    """
    store = UnitFolder(folder / "units", settings)
    found = store.unit(name)
    if all(gathered(found is not None)) and found is not None:
        return found
    batches = TimedBatches(subjects, name, store)
    others = subjects.others(REFERENCES)
    references = others if len(others) else subjects.batch(0, REFERENCES)[0]  # the report says so
    benchmark = AttributionBenchmark(
        model, list(METHODS.values()), metrics_of(model, chosen), references=references, internal_batch_size=128
    )
    result = benchmark.run(batches, folder / "parts" / name)
    seconds, commits = batches.effort()
    unit = Unit(name, {**plain(result, chosen), "commits": commits}, seconds, commit())
    if rank_and_processes()[0] == 0:
        store.add(unit)
    return unit
