"""The stream from shards and data set to the files of a page: one batch in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from captum_xg.datasets.attributions import Attributions
from captum_xg.errors import InputError
from captum_xg.viewer.answers import RunColumns
from captum_xg.viewer.columns import further_columns
from captum_xg.viewer.description import set_names
from captum_xg.viewer.examples import Media, Shown, require_same, reread
from captum_xg.viewer.forms import Form, form_of
from captum_xg.viewer.groups import ShownClusters, shown_clusters
from captum_xg.viewer.maps import MapSet
from captum_xg.viewer.options import Names
from captum_xg.viewer.reduction import Numbers, cosines
from captum_xg.viewer.runs import Rows, are_texts, attributions_of, batches, common_ids, model_inputs, sums_of
from captum_xg.viewer.words import Words

_MOST_SETS = 10
"""The most targets of one run that a page shows."""
_WHERE = "write_page"
_LARGEST = 1e300
"""Sums of larger numbers over examples could be infinite."""


@dataclass
class Writing:
    """A page that is being written.

    Attributes:
        runs: What it shows.
        examples: Their data, if given.
        shown: How.
        names: What users call things.
        further: Numbers of examples by name.
        clusters: As the user gave them.
        workers: Processes that read examples.
    """

    runs: Sequence[Attributions]
    examples: Dataset[Any] | Tensor | None
    shown: Shown
    names: Names
    further: Mapping[str, Any]
    clusters: object
    workers: int
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ids = common_ids(self.runs, _WHERE)
        for run in self.runs:
            if left := len(run) - len(self.ids):
                self.notes.append(f"{left} examples of {run.folder.name} are not in the other run and not shown")
            if run.refused:
                examples = "1 example has" if len(run.refused) == 1 else f"{len(run.refused)} examples have"
                self.notes.append(f"{examples} no attributions in {run.folder.name}")
        own = self.runs[0].ids.clone().numpy()
        self.columns = further_columns(self.further, own, self.ids, _WHERE)
        self.shown_clusters: ShownClusters | None = shown_clusters(self.clusters, own, self.ids, _WHERE)
        self.sets = self._sets()
        self.answers = [RunColumns(i) for i in range(len(self.runs))]
        self.labels = _labels(self.runs[0], own, self.ids)
        self.agreement: list[Numbers] = []
        self.media = Media(self.shown, _WHERE)
        self.words = Words(self.names.words, _WHERE)

    def write_chunks(self, data: Path, progress: bool) -> None:
        """Write all that depends on examples to a folder, but for the index."""
        with ExitStack() as stack:
            writers: list[MapSet | RunColumns | Words] = [*self.sets, *self.answers, self.words]
            for each in writers:
                each.open(data, stack)
            again = self._examples()
            for rows in _shown(batches(self.runs, self.ids), len(self.ids), progress):
                self._add(rows, again, data, stack)

    def _sets(self) -> list[MapSet]:
        sets: list[MapSet] = []
        for number, run in enumerate(self.runs):
            first = next(run.batches(1))
            shape = attributions_of(first, self.shown.input, _WHERE).shape
            targets = int(shape[1])
            if targets > _MOST_SETS:
                self.notes.append(f"of {targets} targets in {run.folder.name} the first {_MOST_SETS} are shown")
            texts = are_texts(first, attributions_of(first, self.shown.input, _WHERE))
            form = form_of(shape[2:], texts, self.shown.small, self.shown.large, _WHERE)
            if sets and form.kind != sets[0].form.kind:
                raise InputError(
                    f"{_WHERE}: {run.folder} has attributions of shape {tuple(shape[2:])} for each example, which "
                    f"cannot be shown beside the {sets[0].form.kind} of {self.runs[0].folder}. Write two pages."
                )
            layer = run.settings.get("layer") is not None
            for rank, name in enumerate(set_names(self.runs, number, min(targets, _MOST_SETS), self.names.classes)):
                sets.append(MapSet(name, number, rank, form, len(sets), layer))
        return sets

    def _examples(self) -> Iterator[tuple[Tensor, ...]] | None:
        if self.examples is None:
            return None
        return reread(self.examples, self.ids, model_inputs(self.runs[0]), self.workers, _WHERE)

    def _add(self, rows: list[Rows], again: Iterator[tuple[Tensor, ...]] | None, data: Path, stack: ExitStack) -> None:
        first, layer = rows[0], self.sets[0].layer
        if again is not None:
            for id, digest in zip(first["id"].tolist(), first["digest"].tolist(), strict=True):
                inputs = next(again)
                require_same(inputs, digest, id, _WHERE)
                # Layers have no input of their own: what is shown beside them is the first.
                self.media.add(inputs[0 if layer else self.shown.input], data, stack)
        ids = first["id"].numpy()
        labels = self.labels[np.searchsorted(self.ids, ids)]
        for each_run, answers in zip(rows, self.answers, strict=True):
            answers.add(each_run["outputs"])
        lengths = None
        if self.sets[0].form.kind == "tokens":
            own = [attributions_of(each, self.shown.input, _WHERE) for each in rows]
            lengths = self.words.add(first["tokens"], own)
        members = self._members(ids)
        small = [self._maps(each, rows[each.run], labels, members, lengths) for each in self.sets]
        if len(small) > 1:
            self.agreement.append(np.stack([cosines(small[0], other) for other in small[1:]]))

    def _members(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the clusters of examples."""
        if self.shown_clusters is None:
            return np.full(len(ids), -1)
        return self.shown_clusters.members[np.searchsorted(self.ids, ids)].astype(np.int64)

    def _maps(
        self,
        each: MapSet,
        rows: Rows,
        labels: NDArray[np.int64],
        members: NDArray[np.int64],
        lengths: NDArray[np.int64] | None,
    ) -> Numbers:
        """Add the maps of one set, and return what the grid shows of them."""
        form: Form = each.form
        own = attributions_of(rows, self.shown.input, _WHERE)[:, each.rank]
        target = rows["targets"][:, each.rank].clone().numpy()
        maps = form.maps(own)
        if not (finite := np.isfinite(maps).reshape(len(maps), -1).all(1)).all():
            raise InputError(
                f"{_WHERE}: the attributions of example {rows['id'][int(np.argmin(finite))]} have NaN or infinity in "
                f"{self.runs[each.run].folder}."
            )
        total = np.abs(maps / _LARGEST).reshape(len(maps), -1).sum(1)
        if (large := total >= 1).any():
            raise InputError(
                f"{_WHERE}: the attributions of example {rows['id'][int(np.argmax(large))]} in "
                f"{self.runs[each.run].folder} add up to more than {_LARGEST:g}, which cannot be shown."
            )
        small = each.add(maps, lengths if form.kind == "tokens" else None)
        outputs = rows["outputs"].double().numpy()
        each.note("target", target)
        each.note("F", np.take_along_axis(outputs, np.maximum(target, 0)[:, None], 1)[:, 0])
        each.note("sum", sums_of(rows)[:, each.rank])
        each.note("gap", rows["gap"][:, each.rank].double().numpy())
        known = (self.labels >= 0).any()  # then classes are those of labels, and who has none is in none
        for kind, groups in (("class", labels if known else target), ("cluster", members)):
            each.group(small, kind, groups)
            if form.kind == "tokens":
                each.words.add(kind, groups, rows["tokens"].clone().numpy(), small)
        return small.reshape(len(small), -1)


def _labels(run: Attributions, own: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the classes of the examples that are shown, −1 where they are not known."""
    if run.labels is None:
        return np.full(len(ids), -1)
    labels: NDArray[np.int64] = run.labels.clone().numpy()
    return labels[np.searchsorted(own, ids)]


def _shown(rows: Iterator[list[Rows]], total: int, progress: bool) -> Iterator[list[Rows]]:
    if not progress:
        yield from rows
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="example", desc="page") as bar:
        for each in rows:
            yield each
            bar.update(len(each[0]["id"]))
