"""Which class each example belongs to: that of its target, its label, or what the model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor

from captum_xg._core.options import one_of
from captum_xg.errors import OptionError

if TYPE_CHECKING:
    from captum_xg.analysis.reading import Choice

By: TypeAlias = Literal["target", "label", "prediction"]


@dataclass(frozen=True)
class Grouping:
    """Examples by class.

    Attributes:
        by: What the classes are of.
        classes: Those that occur, ascending.
        names: One for each.
        index: For each example the place of its class in ``classes``; −1 if it is not known. Shape ``(N,)``.
    """

    by: By
    classes: tuple[int, ...]
    names: tuple[str, ...]
    index: Tensor


def grouped(choice: Choice, by: object, names: Sequence[str], where: str) -> Grouping:
    """Return the examples of a folder by class.

    Raises:
        OptionError: If there are no such classes, or fewer names than classes.
    """
    kind: By = one_of(by, ("target", "label", "prediction"), "by", where)
    column = _column(choice, kind, where)
    known = column >= 0 if kind == "label" else torch.ones_like(column, dtype=torch.bool)
    classes, places = torch.unique(column[known], return_inverse=True)
    index = torch.full_like(column, -1)
    index[known] = places
    listed = tuple(classes.tolist())
    return Grouping(kind, listed, tuple(_name(value, names, where) for value in listed), index)


def _column(choice: Choice, by: By, where: str) -> Tensor:
    found = choice.found
    if by == "target":
        return found.targets[:, choice.target]
    if by == "prediction":
        return found.predictions
    labels = found.labels
    if labels is None or not bool((labels >= 0).any()):
        raise OptionError(f'{where}: there are no labels in the folder. Use by="prediction" or by="target".')
    return labels


def _name(value: int, names: Sequence[str], where: str) -> str:
    if value < 0:
        return "output"  # of a model that has a single one
    if not names:
        return str(value)
    if value >= len(names):
        raise OptionError(f"{where}: `classes` has {len(names)} names, but there is a class {value}.")
    return str(names[value])
