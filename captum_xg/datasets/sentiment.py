"""Sentences of reviews that people have rated, and words that people have rated: does a network see what they see?

The files are those of the source distribution of ``vaderSentiment`` 3.3.2 (MIT licence); nothing of them comes with the
package. Every sentence has the mean of 20 ratings from −4 to 4, every word of the lexicon that of ten.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from captum_xg._core.contents import bytes_of
from captum_xg._core.options import file_path, number_that
from captum_xg._core.reading import require_file, unreadable
from captum_xg._core.text import displayed, in_one_line
from captum_xg.datasets.vocabulary import tokenise
from captum_xg.errors import FileError, OptionError

FILES = {"movies": "movieReviewSnippets_GroundTruth.txt", "products": "amazonReviewSnippets_GroundTruth.txt"}
LEXICON = "vader_lexicon.txt"
NEITHER = -1
"""The class of sentences whose rating is near 0."""


@displayed
@dataclass(frozen=True)
class RatedTexts:
    """Texts with a rating each.

    Attributes:
        texts: N of them, no two of them equal.
        ratings: Shape ``(N,)``, float32: how positive each is, 0 being neutral.
        source: Where they come from.
    """

    texts: tuple[str, ...]
    ratings: Tensor
    source: str

    def labels(self, beyond: float = 1.0) -> Tensor:
        """Return 1 for ratings above ``beyond``, 0 for those below −``beyond``, else −1; shape ``(N,)``, int64."""
        bound = number_that(beyond, lambda b: b >= 0, "a number ≥ 0", "beyond", "RatedTexts.labels")
        neither = torch.full_like(self.ratings, NEITHER, dtype=torch.int64)
        return torch.where(self.ratings.abs() > bound, (self.ratings > 0).long(), neither)

    def fingerprint(self) -> str:
        """Return a digest of texts and ratings, equal for equal data only."""
        digest = hashlib.sha256("\n".join(self.texts).encode())
        digest.update(bytes_of(self.ratings))
        return digest.hexdigest()[:16]


def load_sentences(folder: str | Path, which: str = "movies") -> RatedTexts:
    """Return rated sentences; of sentences that are there several times the first.

    Args:
        folder: Where the files of vaderSentiment lie.
        which: ``"movies"``, 10,605 sentences of film reviews, or ``"products"``, 3,708 of reviews of products.

    Raises:
        FileError: If the file is not there or not as described.
        OptionError: If there are no such sentences.

    Source: Hutto and Gilbert 2014, *VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
    Text*.
    """
    if which not in FILES:
        raise OptionError(f"load_sentences: `which` must be one of {', '.join(FILES)} but is {which!r}.")
    path = file_path(folder, "folder", "load_sentences") / FILES[which]
    found: dict[str, float] = {}
    for number, (_, rating, text) in enumerate(_lines(path, 3), 1):
        if not tokenise(text):
            raise unreadable(path, f"line {number} has no words")
        found.setdefault(text, _rating(rating, path, number))
    ratings = torch.tensor(list(found.values()), dtype=torch.float32)
    return RatedTexts(tuple(found), ratings, f"{which.removesuffix('s')} reviews, rated by people (vaderSentiment)")


def load_lexicon(folder: str | Path) -> dict[str, float]:
    """Return word → mean valence from −4 to 4, for the entries of the lexicon that are one word (no emoticons).

    Args:
        folder: Where the files of vaderSentiment lie.

    Raises:
        FileError: If the file is not there or not as described.
    """
    path = file_path(folder, "folder", "load_lexicon") / LEXICON
    entries = [(word, _rating(valence, path, n)) for n, (word, valence, *_) in enumerate(_lines(path, 4), 1)]
    return {word: valence for word, valence in entries if tokenise(word) == [word] and word[0].isalpha()}


def _lines(path: Path, columns: int) -> list[list[str]]:
    """Return the cells of a file that are separated by tabs, one list for each line that is not empty."""
    try:
        lines = require_file(path).read_text(encoding="utf-8").splitlines()
    except FileError as error:
        names = ", ".join([*FILES.values(), LEXICON])
        raise FileError(f"{error} Give the folder of vaderSentiment 3.3.2 that has {names}.") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, in_one_line(error)) from error
    rows = [line.split("\t") for line in lines if line.strip()]
    wrong = next((i for i, row in enumerate(rows, 1) if len(row) != columns), None)
    if wrong or not rows:
        what = f"line {wrong} has not {columns} columns separated by tabs" if wrong else "it is empty"
        raise unreadable(path, what)
    return rows


def _rating(text: str, path: Path, number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -4 <= value <= 4:
        raise unreadable(path, f"line {number} has the rating {text!r}, which is no number from −4 to 4")
    return value
