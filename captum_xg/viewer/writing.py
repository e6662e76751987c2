"""The stream from shards and data set to the files of a page: one batch in memory at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from captum_xg.datasets.attributions import Attributions
from captum_xg.errors import InputError
from captum_xg.viewer.answers import RunColumns
from captum_xg.viewer.chunks import column, index_script
from captum_xg.viewer.columns import further_columns
from captum_xg.viewer.description import about_run, page_title, set_names
from captum_xg.viewer.examples import Media, Shown, require_same, reread
from captum_xg.viewer.forms import Form, form_of
from captum_xg.viewer.groups import ShownClusters, shown_clusters
from captum_xg.viewer.maps import MapSet
from captum_xg.viewer.place import DATA, PAGE, SITE
from captum_xg.viewer.reduction import Numbers
from captum_xg.viewer.runs import Rows, attributions_of, batches, common_ids, sums_of
from captum_xg.viewer.words import Words

_MOST_SETS = 10
"""The most targets of one run that a page shows."""
_ASSETS = "captum_xg.viewer.site"
_WHERE = "write_page"


@dataclass(frozen=True)
class Names:
    """What users call things.

    Attributes:
        classes: By number.
        features: By place.
        words: By token id.
        title: Of the page.
    """

    classes: tuple[str, ...]
    features: tuple[str, ...]
    words: tuple[str, ...]
    title: str | None


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
                self.notes.append(f"{len(run.refused)} examples have no attributions in {run.folder.name}")
        own = self.runs[0].ids.clone().numpy()
        self._columns = further_columns(self.further, own, self.ids, _WHERE)
        self._clusters: ShownClusters | None = shown_clusters(self.clusters, own, self.ids, _WHERE)
        self.sets = self._sets()
        self._answers = [RunColumns(i) for i in range(len(self.runs))]
        self._labels: list[NDArray[np.int64]] = []
        self._agreement: list[Numbers] = []
        self._media = Media(self.shown, _WHERE)
        self._words = Words(self.names.words, _WHERE)

    def write(self, folder: Path, progress: bool) -> int:
        """Write all files of the page, and return their bytes."""
        data, site = folder / DATA, folder / SITE
        data.mkdir()
        site.mkdir()
        with ExitStack() as stack:
            writers: list[MapSet | RunColumns | Words] = [*self.sets, *self._answers, self._words]
            for each in writers:
                each.open(data, stack)
            again = self._examples()
            for rows in _shown(batches(self.runs, self.ids), len(self.ids), progress):
                self._add(rows, again, data, stack)
        (data / "index.js").write_text(index_script(self._about()), encoding="ascii")
        for asset in sorted(files(_ASSETS).iterdir(), key=lambda each: each.name):
            if asset.name.endswith((".js", ".css", ".html")):
                place = folder / PAGE if asset.name == PAGE else site / asset.name
                with asset.open("rb") as source, place.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def _sets(self) -> list[MapSet]:
        sets: list[MapSet] = []
        for number, run in enumerate(self.runs):
            first = next(run.batches(1))
            shape = attributions_of(first, self.shown.input, _WHERE).shape
            targets = int(shape[1])
            if targets > _MOST_SETS:
                self.notes.append(f"of {targets} targets in {run.folder.name} the first {_MOST_SETS} are shown")
            form = form_of(shape[2:], "tokens" in first, self.shown.small, self.shown.large, _WHERE)
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
        return reread(self.examples, self.ids, len(self.runs[0].inputs), self.workers, _WHERE)

    def _add(self, rows: list[Rows], again: Iterator[tuple[Tensor, ...]] | None, data: Path, stack: ExitStack) -> None:
        first = rows[0]
        if again is not None:
            for id, digest in zip(first["id"].tolist(), first["digest"].tolist(), strict=True):
                inputs = next(again)
                require_same(inputs, digest, id, _WHERE)
                self._media.add(inputs[self.shown.input], data, stack)
        labels = first["label"].clone().numpy() if "label" in first else np.full(len(first["id"]), -1)
        self._labels.append(labels)
        for own, answers in zip(rows, self._answers, strict=True):
            answers.add(own["outputs"])
        lengths = self._words.add(first["tokens"], attributions_of(first, self.shown.input, _WHERE)) if (
            "tokens" in first
        ) else None  # fmt: skip
        members = self._members(first["id"].numpy())
        small = [self._maps(each, rows[each.run], labels, members, lengths) for each in self.sets]
        if len(small) > 1:
            self._agreement.append(_cosines(small))

    def _members(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the clusters of examples."""
        if self._clusters is None:
            return np.full(len(ids), -1)
        return self._clusters.members[np.searchsorted(self.ids, ids)].astype(np.int64)

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
        small = each.add(maps, lengths if form.kind == "tokens" else None)
        outputs = rows["outputs"].double().numpy()
        each.note("target", target)
        each.note("F", np.take_along_axis(outputs, np.maximum(target, 0)[:, None], 1)[:, 0])
        each.note("sum", sums_of(rows)[:, each.rank])
        each.note("gap", rows["gap"][:, each.rank].double().numpy())
        for kind, groups in (("class", np.where(labels >= 0, labels, target)), ("cluster", members)):
            each.group(small, kind, groups)
            if form.kind == "tokens":
                each.words.add(kind, groups, rows["tokens"].clone().numpy(), small)
        return small.reshape(len(small), -1)

    def _about(self) -> dict[str, object]:
        """Return all that the page has to know before it asks for a chunk."""
        labels = np.concatenate(self._labels)
        columns = [column("id", _integers(self.ids)), column("label", _integers(labels))]
        for answers in self._answers:
            columns += answers.columns()
        for each in self.sets:
            columns.append(column(f"target.{each.number}", _integers(each.column("target"))))
            for name in ("F", "sum", "absolute", "gap", "concentration", "end", "large end"):
                if len(values := each.column(name)):
                    columns.append(column(f"{name}.{each.number}", values.astype(np.float32)))
        columns += [column(f"further.{i}", values) for i, (_, values) in enumerate(self._columns)]
        if self._agreement:
            together = np.concatenate(self._agreement, 1)
            columns += [column(f"agreement.{i + 1}", row.astype(np.float32)) for i, row in enumerate(together)]
        if self._clusters is not None:
            columns.append(column("cluster", self._clusters.members))
        kind = self.sets[0].form.kind
        return {
            "version": 1,
            "title": page_title(self.runs, self.names.title),
            "examples": len(self.ids),
            "kind": kind,
            "tokens": self._words.told() if kind == "tokens" else None,
            "media": self._media.told or {"kind": "none"},
            "classes": list(self.names.classes),
            "features": list(self.names.features),
            "runs": [about_run(self.runs, number, answers) for number, answers in enumerate(self._answers)],
            "sets": [each.told() for each in self.sets],
            "families": [*self._media.families, *self._words.families, *(a.family for a in self._answers)],
            "further": [name for name, _ in self._columns],
            "clusters": None if self._clusters is None else list(self._clusters.told),
            "notes": self.notes,
            "columns": columns,
        }


def _cosines(maps: Sequence[Numbers]) -> Numbers:
    """Return how alike the first set and each other are, by the cosine of their maps, ``(sets − 1, n)``."""
    first = maps[0]
    rows = []
    for other in maps[1:]:
        if other.shape != first.shape:
            rows.append(np.full(len(first), np.nan))
            continue
        sizes = np.linalg.norm(first, axis=1) * np.linalg.norm(other, axis=1)
        product = (first * other).sum(1)
        rows.append(np.divide(product, sizes, out=np.full(len(first), np.nan), where=sizes > 0))
    return np.stack(rows)


def _integers(values: NDArray[Any]) -> NDArray[Any]:
    whole = values.astype(np.int64)
    fits = not len(whole) or int(np.abs(whole).max()) < 2**31
    return whole.astype(np.int32 if fits else np.float64)


def _shown(rows: Iterator[list[Rows]], total: int, progress: bool) -> Iterator[list[Rows]]:
    if not progress:
        yield from rows
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="example", desc="page") as bar:
        for each in rows:
            yield each
            bar.update(len(each[0]["id"]))
