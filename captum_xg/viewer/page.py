"""Write a page on which attributions of a data set can be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from captum_xg._core.options import file_path, integer, switch
from captum_xg._core.text import displayed
from captum_xg.analysis.clusters import Clusters
from captum_xg.datasets.attributions import Attributions
from captum_xg.datasets.vocabulary import Vocabulary
from captum_xg.viewer.index import write_files
from captum_xg.viewer.options import names_of, run_of, shown_as
from captum_xg.viewer.place import PAGE, page_folder, require_place
from captum_xg.viewer.writing import Writing

_WHERE = "write_page"


@displayed
@dataclass(frozen=True)
class Page:
    """A page that was written.

    Attributes:
        path: The file to open.
        examples: How many it shows.
        maps: The attributions that it shows of each, by name.
        bytes: Of the whole folder.
        notes: What is not on it, and why.
    """

    path: Path
    examples: int
    maps: tuple[str, ...]
    bytes: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return where it is and what is on it."""
        size = f"{self.bytes / 1e6:.1f} MB" if self.bytes >= 1e5 else f"{self.bytes / 1e3:.0f} kB"
        head = f"{self.path}: {self.examples} examples, {size}"
        return "\n".join([head, *(f"  shown: {name}" for name in self.maps), *(f"  {note}" for note in self.notes)])


def write_page(
    attributions: Attributions | str | Path,
    examples: Dataset[Any] | Tensor | None,
    to: str | Path,
    *,
    compare: Attributions | str | Path | None = None,
    classes: Iterable[str] | None = None,
    names: Iterable[str] | None = None,
    vocabulary: Vocabulary | Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    clusters: Clusters | None = None,
    columns: Mapping[str, Any] | None = None,
    title: str | None = None,
    thumbnail: int = 96,
    detail: int = 224,
    input: int = 0,
    workers: int = 0,
    progress: bool = False,
) -> Page:
    r"""Write a page to look at the attributions of a data set: a folder of files that a browser opens from disk.

    Maps are summed over channels and, of large pictures, over areas: their sums are those of the attributions. Of each
    number of a map 8 bits are kept, with an error of at most :math:`\sqrt{|a|s}/127 + s/64516`, where s is the largest
    of the map. The same arguments give the same bytes; memory does not depend on the number of examples.

    Args:
        attributions: What :func:`captum_xg.explain_dataset` or ``captum-xg attribute`` wrote, or the folder.
        examples: The data that were explained, compared by digests: pictures ``(C, H, W)`` or ``(H, W)``, or features
            ``(D,)``, alone or with a label behind them. None shows attributions alone; texts need none.
        to: The folder of the page. One that holds a page is replaced, any other must be empty.
        compare: A second run over the same data, shown beside.
        classes: The name of each class; those of ``examples.classes`` if None.
        names: The name of each feature of a table.
        vocabulary: The word of each token id.
        mean: Of each channel, if pictures were normalised by it and ``std``: that is undone.
        std: Standard deviation of each channel.
        clusters: What :func:`captum_xg.analysis.cluster` returns for ``attributions``.
        columns: Numbers by name, one for each example of ``attributions``, to sort and filter by.
        title: Of the page.
        thumbnail: The most pixels of a picture's side among other examples.
        detail: The same in the view of one example.
        input: Which of several inputs or layers is shown.
        workers: Processes that read ``examples``.
        progress: Whether to show how far it is.

    Raises:
        InputError: If examples are not those that were explained, or attributions cannot be shown; the first is named.
        FileError: If ``to`` holds something other than a page, or cannot be written.
        OptionError, OptionTypeError: For an unsuitable option.
    """
    require_place(to := file_path(to, "to", _WHERE))
    runs = [run_of(attributions, "attributions"), *([] if compare is None else [run_of(compare, "compare")])]
    shown = shown_as(thumbnail, detail, mean, std, input)
    named = names_of(examples, classes, names, vocabulary, title)
    workers = integer(workers, "workers", _WHERE, least=0)
    writing = Writing(runs, examples, shown, named, columns or {}, clusters, workers)
    with page_folder(to) as folder:
        size = write_files(writing, folder, switch(progress, "progress", _WHERE))
    return Page(to / PAGE, len(writing.ids), tuple(each.name for each in writing.sets), size, tuple(writing.notes))
