"""The files of a page: its index, which says all that it has to know before it asks for a chunk, and what is beside."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_xg.viewer.chunks import column, index_script, singly
from captum_xg.viewer.description import about_run, page_title
from captum_xg.viewer.place import ASSETS, DATA, PAGE, SITE, asset_names
from captum_xg.viewer.writing import Writing


def write_files(page: Writing, folder: Path, progress: bool) -> int:
    """Write all files of a page to an empty folder, and return their bytes."""
    data, site = folder / DATA, folder / SITE
    data.mkdir()
    site.mkdir()
    page.write_chunks(data, progress)
    (data / "index.js").write_text(index_script(page_index(page)), encoding="ascii")
    for name in asset_names():
        place = folder / PAGE if name == PAGE else site / name
        with (files(ASSETS) / name).open("rb") as source, place.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def page_index(page: Writing) -> dict[str, object]:
    """Return all that the page has to know before it asks for a chunk."""
    columns = [column("id", _integers(page.ids)), column("label", _integers(page.labels))]
    for answers in page.answers:
        columns += answers.columns()
    for each in page.sets:
        columns.append(column(f"target.{each.number}", _integers(each.column("target"))))
        for name in ("F", "sum", "absolute", "gap", "concentration", "end", "large end"):
            if len(values := each.column(name)):
                columns.append(column(f"{name}.{each.number}", singly(values)))
    columns += [column(f"further.{i}", values) for i, (_, values) in enumerate(page.columns)]
    if page.agreement:
        together = np.concatenate(page.agreement, 1)
        columns += [column(f"agreement.{i + 1}", row.astype(np.float32)) for i, row in enumerate(together)]
    if page.shown_clusters is not None:
        columns.append(column("cluster", page.shown_clusters.members))
    kind = page.sets[0].form.kind
    return {
        "version": 1,
        "title": page_title(page.runs, page.names.title),
        "examples": len(page.ids),
        "kind": kind,
        "tokens": page.words.told() if kind == "tokens" else None,
        "media": page.media.told or {"kind": "none"},
        "classes": list(page.names.classes),
        "features": list(page.names.features),
        "runs": [about_run(page.runs, number, answers) for number, answers in enumerate(page.answers)],
        "sets": [each.told() for each in page.sets],
        "families": [*page.media.families, *page.words.families, *(a.family for a in page.answers)],
        "further": [name for name, _ in page.columns],
        "clusters": None if page.shown_clusters is None else list(page.shown_clusters.told),
        "notes": page.notes,
        "columns": columns,
    }


def _integers(values: NDArray[Any]) -> NDArray[Any]:
    whole = values.astype(np.int64)
    fits = not len(whole) or int(np.abs(whole).max()) < 2**31
    return whole.astype(np.int32 if fits else np.float64)
