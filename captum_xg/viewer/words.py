"""Tokens of texts: which of them are words, and which words."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_xg.datasets.vocabulary import PADDING
from captum_xg.errors import OptionError
from captum_xg.viewer.chunks import ChunkWriter
from captum_xg.viewer.reduction import Numbers

_SHOWN = 12
"""The most words of a group that the page shows."""
_MOST = 2**24
"""The most sums of words that are kept."""


class WordSums:
    """Sums of the attributions of each word over the texts of a group."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], tuple[int, Numbers]] = {}

    def add(self, kind: str, groups: NDArray[np.int64], tokens: NDArray[np.int64], maps: Numbers) -> None:
        """Add texts ``(n, T)`` to the sums of their groups; nothing where there is no room for them.

        Args:
            kind: What the groups are, ``"class"`` or ``"cluster"``.
            groups: The group of each text, −1 for none.
            tokens: Ids, −1 where there is none.
            maps: The attributions of the tokens, zero where there is padding.
        """
        for number in np.unique(groups[groups >= 0]).tolist():
            own = groups == number
            there = tokens[own] >= 0
            found = np.bincount(tokens[own][there], maps[own][there])
            n, before = self._sums.get((kind, number), (0, np.zeros(0)))
            size = max(len(found), len(before))
            if (len(self._sums) + 1) * size > _MOST:
                continue
            together = np.zeros(size)
            together[: len(before)] += before
            together[: len(found)] += found
            self._sums[kind, number] = (n + int(own.sum()), together)

    def told(self) -> list[dict[str, object]]:
        """Return the words of each group with the largest sums, divided by the number of its texts."""
        means = []
        for (kind, number), (n, sums) in sorted(self._sums.items()):
            first = [id for id in np.argsort(-np.abs(sums), kind="stable")[:_SHOWN].tolist() if sums[id] != 0]
            words = [[id, float(f"{sums[id] / n:.8g}")] for id in first]
            means.append({"of": kind, "class": number, "n": n, "words": words})
        return means


class Words:
    """Writes the token ids of each example, without the padding at their end.

    Args:
        words: The word of each id; ids are shown where there are none.
        where: For messages.
    """

    def __init__(self, words: tuple[str, ...], where: str) -> None:
        self.words, self.where = words, where
        self._used: set[int] = set()
        self._writer: ChunkWriter | None = None

    def open(self, folder: Path, stack: ExitStack) -> None:
        """Say where chunks are written to."""
        self._folder, self._stack = folder, stack

    def add(self, tokens: Tensor, attributions: Sequence[Tensor]) -> NDArray[np.int64]:
        """Add a batch ``(n, T)``, and return the lengths of its texts.

        Padding is what stands at the end: without a token (−1), or with the id 0 and attributions of exactly zero.

        Args:
            tokens: Ids.
            attributions: Of each run, ``(n, K, T)`` or ``(n, K, T, D)``.

        Raises:
            OptionError: If an id is beyond the vocabulary.
        """
        ids = tokens.detach().to("cpu").clone().numpy()
        silent = torch.stack([(each.flatten(3) == 0).all(3).all(1) for each in map(_deep, attributions)]).all(0)
        spoken = (ids >= 0) & ~(silent.numpy() & (ids == PADDING))
        lengths = np.where(spoken.any(1), spoken.shape[1] - np.argmax(spoken[:, ::-1], 1), 0)
        if self._writer is None:
            self._writer = self._stack.enter_context(ChunkWriter(self._folder, "tokens", 4 * ids.shape[1]))
        for row, length in zip(ids, lengths, strict=True):
            own = row[:length]
            self._used.update(own[own >= 0].tolist())
            self._writer.add(own.astype("<i4").tobytes())
        if self.words and self._used and max(self._used) >= len(self.words):
            raise OptionError(
                f"{self.where}: `vocabulary` has {len(self.words)} words, but there is a token {max(self._used)}. Give "
                "the vocabulary that the texts were encoded with, from id 0 on."
            )
        return np.asarray(lengths, np.int64)

    def told(self) -> list[list[object]]:
        """Return the ids that occur and their words."""
        return [[id, self.words[id]] for id in sorted(self._used)] if self.words else []

    @property
    def families(self) -> list[dict[str, object]]:
        """What the page has to know to find an example."""
        return [] if self._writer is None else [self._writer.told()]


def _deep(attributions: Tensor) -> Tensor:
    return attributions if attributions.dim() > 3 else attributions.unsqueeze(3)
