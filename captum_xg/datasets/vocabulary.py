"""Texts as ids of tokens: a simple tokeniser, and the vocabulary that gives each word its id."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from captum_xg._core.options import positive_integer
from captum_xg._core.text import displayed
from captum_xg.errors import OptionError, OptionTypeError

PADDING, UNKNOWN = 0, 1
"""Ids that are no words: what fills up shorter texts, and any word that is not in the vocabulary."""

_TOKENS = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]")


def tokenise(text: str) -> list[str]:
    """Return the words of a text in lower case, with their inner apostrophes, and each punctuation mark.

    Example:
        >>> tokenise("It isn't dull; it's DULL!")
        ['it', "isn't", 'dull', ';', "it's", 'dull', '!']
    """
    return _TOKENS.findall(text.lower().replace("’", "'"))


@displayed
@dataclass(frozen=True)
class Vocabulary:
    """Words and their ids: word i of ``words`` has id i + 2; 0 is padding, 1 any other word.

    Attributes:
        words: Without repetition.

    Raises:
        OptionError: If a word is there twice.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.words)) < len(self.words):
            twice = next(word for word, n in Counter(self.words).items() if n > 1)
            raise OptionError(f"Vocabulary: {twice!r} is among the words more than once.")

    @classmethod
    def of(cls, texts: Iterable[str], *, least: int = 2) -> Vocabulary:
        """Return the words that texts have at least so many times, the most frequent first."""
        counts = Counter(token for text in texts for token in tokenise(text))
        frequent = sorted((-n, word) for word, n in counts.items() if n >= least)
        return cls(tuple(word for _, word in frequent))

    def __len__(self) -> int:
        """Return how many ids there are, with the two that are no words."""
        return len(self.words) + 2

    def __contains__(self, word: object) -> bool:
        """Return whether a word has an id of its own."""
        return word in self.ids

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: i for i, word in enumerate(self.words, 2)}

    def encode(self, texts: Sequence[str], *, max_length: int | None = None) -> Tensor:
        """Return texts as ids ``(N, T)``, int64, padded with 0.

        Args:
            texts: N of them.
            max_length: The most tokens of a text; what is behind them is cut off. All if None.

        Raises:
            OptionTypeError: If there is a single text in place of a list.
            OptionError: If there are none.
        """
        where = "Vocabulary.encode"
        if isinstance(texts, str) or not isinstance(texts, Sequence):
            raise OptionTypeError(f"{where}: `texts` must be a list of texts but is {type(texts).__name__}.")
        if not texts:
            raise OptionError(f"{where}: there are no texts.")
        most = None if max_length is None else positive_integer(max_length, "max_length", where)
        rows = [[self.ids.get(token, UNKNOWN) for token in tokenise(text)[:most]] for text in texts]
        # One column at least: a network cannot take texts of no tokens at all.
        ids = torch.full((len(rows), max(1, *map(len, rows))), PADDING)
        for row, own in zip(ids, rows, strict=True):
            row[: len(own)] = torch.tensor(own, dtype=torch.int64)
        return ids
