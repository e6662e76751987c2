"""One set of attributions as a page keeps it: chunks of maps, columns of numbers, mean maps of classes."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from captum_xg.viewer.chunks import ChunkWriter, encoded
from captum_xg.viewer.forms import Form
from captum_xg.viewer.reduction import Numbers, gini, quantised
from captum_xg.viewer.words import WordSums

_PERCENTILE = 99.5
"""Of a picture's pixels: the end of its colour scale, so that a single one does not make all others pale."""
_PAGE = 90
"""Percentile of the examples' ends: the end of the scale of the whole page."""
_MEANS = 2**25
"""The most numbers that the mean maps of all classes may have."""


@dataclass
class MapSet:
    """The attributions of one run for one of its targets.

    Attributes:
        name: What the page calls it.
        run: The number of its run.
        rank: Which of the run's targets.
        form: How it is shown.
        number: Of the set.
        layer: Whether these are attributions to a layer and not to the inputs.
    """

    name: str
    run: int
    rank: int
    form: Form
    number: int
    layer: bool = False
    columns: dict[str, list[Numbers]] = field(default_factory=dict)
    large_ends: list[Numbers] = field(default_factory=list)
    words: WordSums = field(default_factory=WordSums)
    sums: dict[tuple[str, int], tuple[int, Numbers, Numbers]] = field(default_factory=dict)
    """By kind and number of a group: examples, sum of maps, sum of absolute maps."""

    def open(self, folder: Path, stack: ExitStack) -> None:
        """Begin to write chunks."""
        size = int(np.prod(self.form.small))
        self._small = stack.enter_context(ChunkWriter(folder, f"maps{self.number}", size + 8))
        self._large = None
        if self.form.large is not None:
            large = int(np.prod(self.form.large))
            self._large = stack.enter_context(ChunkWriter(folder, f"large{self.number}", large + 8, wanted=2**18))

    def add(self, maps: Numbers, lengths: NDArray[np.int64] | None = None) -> Numbers:
        """Add the maps of a batch, ``(n, *shape)``, and return what the grid shows of them.

        Args:
            maps: Of the examples.
            lengths: How many tokens each has, of texts.
        """
        small = self.form.reduced(maps, self.form.small)
        rows = small.reshape(len(small), -1)
        self.note("end", _ends(rows, self.form))
        self.note("absolute", np.abs(maps).reshape(len(maps), -1).sum(1))
        self.note("concentration", gini(rows, lengths))
        for i, own in enumerate(small):
            self._small.add(_packed(own if lengths is None else own[: lengths[i]]))
        if self._large is not None and self.form.large is not None:
            large = self.form.reduced(maps, self.form.large)
            self.note("large end", _ends(large.reshape(len(large), -1), self.form))
            for own in large:
                self._large.add(_packed(own))
        return small

    def note(self, name: str, values: Numbers) -> None:
        """Add numbers of a batch to a column."""
        self.columns.setdefault(name, []).append(np.asarray(values, np.float64))

    def group(self, small: Numbers, kind: str, groups: NDArray[np.int64]) -> None:
        """Add what the grid shows to the sums of the examples' groups; nothing where there is no room for them.

        Texts have no common places: of them the sums of words are kept, by :class:`~captum_xg.viewer.words.WordSums`.

        Args:
            small: Maps ``(n, …)``.
            kind: What the groups are, ``"class"`` or ``"cluster"``.
            groups: The group of each, −1 for none.
        """
        if self.form.kind == "tokens":
            return
        for number in np.unique(groups[groups >= 0]).tolist():
            own = small[groups == number]
            before = self.sums.get((kind, number))
            if before is None:
                if (len(self.sums) + 1) * own[0].size * 2 > _MEANS:
                    continue
                before = (0, np.zeros(own.shape[1:]), np.zeros(own.shape[1:]))
            n, total, absolute = before
            self.sums[kind, number] = (n + len(own), total + own.sum(0), absolute + np.abs(own).sum(0))

    def column(self, name: str) -> Numbers:
        """Return a column over all examples."""
        return np.concatenate(self.columns.get(name, [np.zeros(0)]))

    def told(self) -> dict[str, object]:
        """Return what the page has to know of the set."""
        families = [self._small.told(), *([self._large.told()] if self._large is not None else [])]
        return {
            "name": self.name,
            "run": self.run,
            "rank": self.rank,
            "layer": self.layer,
            "shape": list(self.form.shape),
            "small": list(self.form.small),
            "large": None if self.form.large is None else list(self.form.large),
            "end": _page_end(self.column("end")),
            "largeEnd": _page_end(self.column("large end")),
            "families": families,
            "means": [self._mean(*group) for group in sorted(self.sums)] + self.words.told(),
        }

    @property
    def written(self) -> int:
        """Bytes in chunks."""
        return self._small.written + (self._large.written if self._large is not None else 0)

    def _mean(self, kind: str, number: int) -> dict[str, object]:
        n, total, absolute = self.sums[kind, number]
        signed, sign_end = quantised(total / n)
        strength, end = quantised(absolute / n)
        return {
            "of": kind,
            "class": number,
            "n": n,
            "signed": {"end": sign_end, "data": encoded(signed.tobytes())},
            "absolute": {"end": end, "data": encoded(strength.tobytes())},
        }


def _ends(rows: Numbers, form: Form) -> Numbers:
    """Return the number at the end of each example's colour scale; never zero unless all is."""
    sizes = np.abs(rows)
    largest = np.asarray(sizes.max(1, initial=0.0))
    if form.kind != "picture":
        return largest
    # Where most pixels have none, the percentile may be zero, and the largest is meant.
    ends = np.percentile(sizes, _PERCENTILE, axis=1)
    return np.asarray(np.where(ends > 0, ends, largest))


def _page_end(ends: Numbers) -> float:
    ends = ends[ends > 0]
    return float(np.percentile(ends, _PAGE)) if len(ends) else 0.0


def _packed(values: Numbers) -> bytes:
    levels, end = quantised(values)
    return struct.pack("<d", end) + levels.tobytes()
