"""What the networks learn from: texts with a class and a rating, in three parts, and words of known valence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from captum_xg.datasets.review_grammar import generated_reviews, true_valences
from captum_xg.datasets.sentiment import NEITHER, RatedTexts, load_lexicon, load_sentences
from captum_xg.datasets.vocabulary import Vocabulary
from captum_xg.errors import OptionError
from captum_xg.repro.texts.settings import Settings

GENERATED = 6000
"""Reviews of the grammar, where no folder is given."""
FILM_EXAMPLES = (
    "A warm, funny and surprisingly moving film, with a superb cast.",
    "The jokes are stale, the plot is a mess, and it never ends.",
    "It is not bad at all, but the ending is a disappointment.",
    "Too long by half an hour, yet the performances are a joy.",
)
"""Written for this: sentences of the data do not leave their folder."""
_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


class Part(NamedTuple):
    """Ids of tokens ``(N, T)``, ratings ``(N,)`` minus the mean of the training texts, classes ``(N,)`` 1, 0 or −1."""

    ids: Tensor
    ratings: Tensor
    labels: Tensor

    def classified(self) -> Part:
        """Return the texts that have a class."""
        chosen = self.labels != NEITHER
        return Part(*(each[chosen] for each in self))

    def to(self, device: torch.device) -> Part:
        """Return it on a device."""
        return Part(*(each.to(device) for each in self))


@dataclass(frozen=True)
class Task:
    """Texts in three parts, and words whose valence is known.

    Attributes:
        source: What the texts are.
        vocabulary: Of the training texts.
        train: To learn from.
        validation: To choose epochs and λ by.
        test: To report.
        words: Those of known valence that are in the vocabulary and in the test texts, in alphabetical order.
        valences: Of these, ``(W,)``, float64.
        fingerprint: Of all texts.
        examples: Texts to draw.
        known: Whether the valences are what the words contribute, or what people think of each by itself.
    """

    source: str
    vocabulary: Vocabulary
    train: Part
    validation: Part
    test: Part
    words: tuple[str, ...]
    valences: Tensor
    fingerprint: str
    examples: tuple[str, ...]
    known: bool


def task_of(folder: Path | None, settings: Settings) -> Task:
    """Return the film sentences and the lexicon in a folder; without one, reviews of the grammar.

    Raises:
        FileError: If the folder has no such files.
        OptionError: If there are too few texts to divide.
    """
    if folder is None:
        return divided(generated_reviews(GENERATED), true_valences(), settings, known=True)
    return divided(load_sentences(folder), load_lexicon(folder), settings, known=False)


def divided(
    texts: RatedTexts, valences: Mapping[str, float], settings: Settings, *, known: bool, least: int = 2
) -> Task:
    """Divide texts into parts, the same ones for all seeds, and find the words of known valence in them.

    Args:
        texts: All of them.
        valences: Of words.
        settings: How many texts, and how long.
        known: Whether the valences are what the words contribute.
        least: How often the training texts have a word of the vocabulary at least.

    Raises:
        OptionError: If there are too few.
    """
    order = torch.randperm(len(texts.texts), generator=torch.Generator().manual_seed(0))[: settings.texts]
    if len(order) < 20:
        raise OptionError(f"There must be at least 20 texts to divide, but there are {len(order)}.")
    bounds = [round(share * len(order)) for share in (_SHARES["train"], 1 - _SHARES["test"])]
    rows = dict(zip(_SHARES, torch.tensor_split(order, bounds), strict=True))
    training = [texts.texts[i] for i in rows["train"].tolist()]
    vocabulary, centre, labels = (
        Vocabulary.of(training, least=least),
        texts.ratings[rows["train"]].mean(),
        texts.labels(),
    )

    def part(name: str) -> Part:
        index = rows[name]
        ids = vocabulary.encode([texts.texts[i] for i in index.tolist()], max_length=settings.max_length)
        # F(0) = 0 of a network without biases: the text that says nothing has the mean rating.
        return Part(ids, texts.ratings[index] - centre, labels[index])

    test = part("test")
    there = set(test.ids.flatten().tolist())
    words = tuple(sorted(word for word in valences if vocabulary.ids.get(word) in there))
    return Task(
        texts.source,
        vocabulary,
        part("train"),
        part("validation"),
        test,
        words,
        torch.tensor([valences[word] for word in words], dtype=torch.float64),
        texts.fingerprint(),
        tuple(texts.texts[i] for i in rows["test"][:4].tolist()) if known else FILM_EXAMPLES,
        known,
    )
