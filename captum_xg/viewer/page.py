"""Write a page on which attributions of a data set can be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from captum_xg._core.options import file_path, integer, positive_integer, single_numbers, switch
from captum_xg._core.text import displayed
from captum_xg.analysis.clusters import Clusters
from captum_xg.datasets.attributions import Attributions
from captum_xg.datasets.vocabulary import Vocabulary
from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.viewer.examples import Shown
from captum_xg.viewer.place import PAGE, page_folder, require_place
from captum_xg.viewer.writing import Names, Writing

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
    r"""Write a page to look at the attributions of a data set: examples, filters, classes, clusters.

    It is a folder of files that a browser opens from disk; nothing is loaded from elsewhere and no server is needed.
    Maps are summed over channels and, of large pictures, over areas, so that the sum of a map is the sum of the
    attributions; the numbers that the page states are those of the folder. Of each number of a map 8 bits are kept:
    an error of at most :math:`\sqrt{|a|s}/127 + s/64516`, where s is the largest of the map.

    Memory does not depend on the number of examples, but for some forty bytes of each. The same arguments give the
    same bytes.

    Args:
        attributions: What :func:`captum_xg.explain_dataset` or ``captum-xg attribute`` wrote, or the folder.
        examples: The data that were explained, in the same order: pictures ``(C, H, W)`` or ``(H, W)``, or features
            ``(D,)``, alone or with a label behind them. Each is compared with the digest that was kept of it. None:
            the page shows attributions alone; texts need none.
        to: The folder of the page. One that holds a page is replaced, any other must be empty.
        compare: A second run over the same data, such as by another method or of another network, shown beside.
        classes: The name of each class; those of ``examples.classes`` if None.
        names: The name of each feature of a table.
        vocabulary: The word of each token id.
        mean: Of each channel, if pictures were normalised by it: that is undone.
        std: The same for the standard deviation.
        clusters: Clusters of the examples of ``attributions``: what :func:`captum_xg.analysis.cluster` returns.
        columns: Further numbers by name, one for each example of ``attributions``, to sort and filter by, such as the
            ``scores.values`` of what :func:`captum_xg.analysis.summarize` returns.
        title: Of the page.
        thumbnail: The most pixels of a picture's side among other examples.
        detail: The same in the view of one example.
        input: Which of several inputs is shown.
        workers: Processes that read ``examples``.
        progress: Whether to show how far it is.

    Raises:
        InputError: If the examples are not those that were explained; the first one is named. If two runs have no
            example in common, or attributions have a shape that cannot be shown.
        FileError: If ``to`` holds something other than a page, or cannot be written.
        OptionError, OptionTypeError: For an unsuitable option.

    Example:
        >>> write_page("scan", data, "page")  # doctest: +SKIP
        Page(path=PosixPath('page/index.html'), examples=500, …)
    """
    to = file_path(to, "to", _WHERE)
    require_place(to)
    runs = [_run(attributions, "attributions"), *([] if compare is None else [_run(compare, "compare")])]
    shown = Shown(
        positive_integer(thumbnail, "thumbnail", _WHERE),
        integer(detail, "detail", _WHERE, least=0),
        _channels(mean, "mean"),
        _channels(std, "std"),
        integer(input, "input", _WHERE, least=0),
    )
    if (shown.mean is None) != (shown.std is None):
        raise OptionError(f"{_WHERE}: `mean` and `std` undo one normalisation; pass both or none.")
    named = Names(
        _texts(getattr(examples, "classes", None) if classes is None else classes, "classes"),
        _texts(names, "names"),
        _words(vocabulary),
        title,
    )
    writing = Writing(
        runs, examples, shown, named, columns or {}, clusters, integer(workers, "workers", _WHERE, least=0)
    )
    with page_folder(to) as folder:
        size = writing.write(folder, switch(progress, "progress", _WHERE))
    return Page(to / PAGE, len(writing.ids), tuple(each.name for each in writing.sets), size, tuple(writing.notes))


def _run(value: object, name: str) -> Attributions:
    if isinstance(value, Attributions):
        return value
    return Attributions(file_path(value, name, _WHERE))


def _channels(value: object, name: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    numbers = single_numbers(value)
    if not numbers or (name == "std" and 0 in numbers):
        raise OptionTypeError(f"{_WHERE}: `{name}` must be a list of numbers, none of std 0, but is {value!r}.")
    return numbers


def _texts(value: object, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise OptionTypeError(f"{_WHERE}: `{name}` must be a list of texts, but is {type(value).__name__}.")
    return tuple(map(str, value))


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, Vocabulary):
        return ("", "[unknown]", *value.words)
    return _texts(value, "vocabulary")
