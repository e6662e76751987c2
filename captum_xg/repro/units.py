"""Units of an experiment: parts that are done one by one, kept in a folder, shared out among processes.

A unit is a name and a function that takes seconds to minutes and returns numbers, as JSON knows them. Each is written
to a file of its own once it is done, whole or not at all, so that an experiment that is interrupted, killed even, loses
at most the unit it was at, and the next call goes on from there. Under ``torchrun`` process r of n does every n-th
unit, and all of them return what all units came to: the numbers are the same for any n, as no unit knows of another.

What must never happen: that numbers of other settings come in. What they depend on is in ``settings.json``
(:class:`~captum_xg.repro.store.ResultFolder`), and what is there of other settings is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from tqdm import tqdm

from captum_xg._core.distributed import gathered, rank_and_processes
from captum_xg._core.files import write_json
from captum_xg._core.reading import REDO, Check, is_amount, is_text, unreadable
from captum_xg.errors import CaptumXGError
from captum_xg.repro.environment import commit
from captum_xg.repro.store import ResultFolder


@dataclass(frozen=True)
class Unit:
    """What a unit came to.

    Attributes:
        name: Its name.
        value: Numbers, lists and dicts of them.
        seconds: How long it took.
        commit: Of the package that it was done with.
    """

    name: str
    value: dict[str, Any]
    seconds: float
    commit: str


class UnitFolder(ResultFolder[Unit]):
    """The units of one experiment in a folder."""

    record_type = Unit
    noun = "unit"
    checks: ClassVar[Mapping[str, Check]] = {
        "name": is_text,
        "value": lambda value: isinstance(value, dict),
        "seconds": is_amount,
        "commit": is_text,
    }

    def unit(self, name: str) -> Unit | None:
        """Return what is there of a unit; None if it is yet to be done.

        Raises:
            FileError: If it cannot be read, or holds something else.
        """
        path = self._path(name)
        if not path.exists():
            return None
        found = self.record(self.read(path), path)
        if found.name != name:
            raise unreadable(path, "it holds another unit than its name says", REDO)
        return found

    def add(self, unit: Unit) -> None:
        """Add a unit; its file is whole at any time."""
        write_json(self._path(unit.name), asdict(unit))

    def _path(self, name: str) -> Path:
        return self.folder / f"{quote(name, safe=' ()=,+')}.json"


def done(
    folder: Path, settings: Mapping[str, object], units: Mapping[str, Callable[[], Mapping[str, Any]]], title: str
) -> dict[str, Unit]:
    """Return what all units came to, in their order; those that are not in the folder are done and put there.

    Args:
        folder: Of the units, made if it is missing.
        settings: What their numbers depend on besides their names.
        units: Name → what does it. What it returns must be what JSON keeps: dicts with text keys, lists, numbers.
        title: Of the progress bar.

    Raises:
        FileError: If the folder has units of other settings, or a file in it cannot be read or written; under
            ``torchrun`` on every process, whichever of them it was.
    """
    error: CaptumXGError | None = None
    own: dict[str, Unit] = {}
    try:
        own = _own_share(folder, settings, units, title)
    except CaptumXGError as raised:
        if rank_and_processes()[1] == 1:
            raise
        error = raised
    # An error of one process is one of all: alone, it would leave the others waiting for what it has, and take what
    # they gather next for that.
    parts = gathered((own, error))
    for _, raised_there in parts:
        if raised_there is not None:
            raise raised_there
    everything = {name: unit for part, _ in parts for name, unit in part.items()}
    return {name: everything[name] for name in units}


def _own_share(
    folder: Path, settings: Mapping[str, object], units: Mapping[str, Callable[[], Mapping[str, Any]]], title: str
) -> dict[str, Unit]:
    """Return what the units of this process came to, done where they are not in the folder."""
    rank, processes = rank_and_processes()
    store = UnitFolder(folder, settings)
    own = list(units)[rank::processes]
    found: dict[str, Unit] = {}
    # Without `disable` each process would draw a bar of its own over those of the others.
    with tqdm(total=len(own), desc=title, unit="unit", dynamic_ncols=True, disable=rank > 0, leave=False) as bar:
        for name in own:
            bar.set_postfix_str(name)
            unit = store.unit(name)
            if unit is None:
                began = time.perf_counter()
                value = dict(units[name]())
                unit = Unit(name, value, time.perf_counter() - began, commit())
                store.add(unit)
            found[name] = unit
            bar.update()
    return found


def effort(units: Mapping[str, Unit]) -> tuple[float, tuple[str, ...]]:
    """Return how many seconds units took together, and the commits that they were done with."""
    return sum(unit.seconds for unit in units.values()), tuple(sorted({unit.commit for unit in units.values()}))
