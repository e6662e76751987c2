"""What users want of a page, checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from captum_xg._core.options import file_path, integer, positive_integer, single_numbers
from captum_xg.datasets.attributions import Attributions
from captum_xg.datasets.vocabulary import Vocabulary
from captum_xg.errors import OptionError, OptionTypeError
from captum_xg.viewer.examples import Shown

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


def run_of(value: object, name: str) -> Attributions:
    """Return a run, read from its folder if that is given.

    Raises:
        FileError: If it cannot be read.
        OptionTypeError: If it is something else.
    """
    if isinstance(value, Attributions):
        return value
    return Attributions(file_path(value, name, _WHERE))


def shown_as(thumbnail: object, detail: object, mean: object, std: object, input: object) -> Shown:
    """Return how examples are to be shown.

    Raises:
        OptionError, OptionTypeError: If an option does not suit.
    """
    shown = Shown(
        positive_integer(thumbnail, "thumbnail", _WHERE),
        integer(detail, "detail", _WHERE, least=0),
        _channels(mean, "mean"),
        _channels(std, "std"),
        integer(input, "input", _WHERE, least=0),
    )
    if (shown.mean is None) != (shown.std is None):
        raise OptionError(f"{_WHERE}: `mean` and `std` undo one normalisation; pass both or none.")
    return shown


def names_of(examples: object, classes: object, names: object, vocabulary: object, title: str | None) -> Names:
    """Return what users call things; data sets may have names for their classes.

    Raises:
        OptionTypeError: If these are no texts.
    """
    own = getattr(examples, "classes", None) if classes is None else classes
    return Names(_texts(own, "classes"), _texts(names, "names"), _words(vocabulary), title)


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
