"""One pass over a folder of attributions: mean maps of classes, scores of examples, shares of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_xg._core.text import Table, displayed
from captum_xg.analysis.groups import By, grouped
from captum_xg.analysis.maps import MapSums, MeanMaps
from captum_xg.analysis.reading import Part, chosen
from captum_xg.analysis.scores import ScoreColumns, Scores
from captum_xg.analysis.vocabulary import TokenShares, TokenSums
from captum_xg.datasets.vocabulary import Vocabulary
from captum_xg.errors import OptionError
from captum_xg.priors.masks import checked_mask

if TYPE_CHECKING:
    from captum_xg.datasets.attributions import Attributions

_WHERE = "summarize"


@displayed
@dataclass(frozen=True)
class Summary:
    """What the attributions of a data set come to.

    Attributes:
        maps: Mean maps of each class.
        scores: Numbers of each example.
        tokens: What each token has of the attributions; None if the data are no texts.
    """

    maps: MeanMaps
    scores: Scores
    tokens: TokenShares | None = None

    def _parts(self) -> list[str | Table]:
        parts = [*self.maps._parts(), "", *self.scores._parts()]
        return parts if self.tokens is None else [*parts, "", *self.tokens._parts()]


def summarize(
    attributions: Attributions | str | Path,
    *,
    by: By = "target",
    regions: Mapping[str, Tensor] | None = None,
    tokens: Mapping[str, Sequence[int]] | None = None,
    classes: Sequence[str] = (),
    vocabulary: Vocabulary | Sequence[str] = (),
    target: int = 0,
    input: int = 0,
    batch_size: int = 256,
) -> Summary:
    """Return mean maps of classes and scores of examples, from one pass over a folder of attributions.

    Sums are of float64 and in the order of the folder. Memory: ``batch_size`` examples, three maps for each class and a
    few numbers for each example.

    Args:
        attributions: What :func:`captum_xg.explain_dataset` returns, or the folder.
        by: What classes are of: the ``"target"`` that was explained, the ``"label"`` or the ``"prediction"``.
        regions: Name → mask of the shape S of a map, booleans or numbers from 0 to 1: whose share of the attributions
            is wanted for each example.
        tokens: Name → numbers of tokens, whose share is wanted likewise.
        classes: Names of the classes from 0 on.
        vocabulary: The vocabulary that texts were encoded with, or the words of the tokens from 0 on.
        target: Which of the targets of each example, where several were explained.
        input: Which of the inputs of the model.
        batch_size: Examples that are read at a time.

    Shapes: a map of an image ``(C, H, W)`` is ``(H, W)``, of an embedding ``(T, D)`` of a text ``(T,)``: channels are
    summed, in absolute maps after the absolute value. Other attributions are their own map.

    Raises:
        OptionError: If an option does not fit the folder.
        FileError: If the folder cannot be read.
    """
    choice = chosen(attributions, target, input, batch_size, _WHERE)
    grouping = grouped(choice, by, classes, _WHERE)
    maps = MapSums(grouping.names, grouping.index)
    scores: ScoreColumns | None = None
    sums: TokenSums | None = None
    for part in choice.parts():
        if scores is None:
            masks, listed = _regions(regions or {}, part), _tokens(tokens or {}, part)
            if both := sorted(masks.keys() & listed.keys()):
                raise OptionError(f"{_WHERE}: {both[0]!r} is a region and tokens. Give one of them another name.")
            scores = ScoreColumns(len(choice.found), masks, listed)
            sums = None if part.tokens is None else TokenSums()
        maps.add(part)
        scores.add(part)
        if sums is not None:
            sums.add(part)
    assert scores is not None
    found = Scores(choice.found.ids, scores.values, grouping.names, grouping.index)
    return Summary(maps.means(), found, None if sums is None else sums.shares(_words(vocabulary)))


def _words(vocabulary: Vocabulary | Sequence[str]) -> Sequence[str]:
    return ("[padding]", "[unknown]", *vocabulary.words) if isinstance(vocabulary, Vocabulary) else vocabulary


def _regions(regions: Mapping[str, Tensor], part: Part) -> dict[str, Tensor]:
    shape = tuple(part.absolute.shape[1:])
    found = {}
    for name, mask in regions.items():
        checked = checked_mask(mask, f"regions[{name!r}]", _WHERE, largest=1).detach().to("cpu", torch.float64)
        if checked.shape == (1, *shape):
            checked = checked[0]
        if checked.shape != shape:
            raise OptionError(
                f"{_WHERE}: `regions[{name!r}]` has shape {tuple(mask.shape)}, but a map of these attributions has "
                f"{shape}."
            )
        found[str(name)] = checked
    return found


def _tokens(tokens: Mapping[str, Sequence[int]], part: Part) -> dict[str, Tensor]:
    if tokens and part.tokens is None:
        raise OptionError(f"{_WHERE}: the folder has no tokens. They are kept for texts; use `regions` for the others.")
    return {str(name): torch.as_tensor(listed, dtype=torch.int64).flatten() for name, listed in tokens.items()}
