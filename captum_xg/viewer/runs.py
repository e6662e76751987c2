"""The runs that a page shows, example by example: those that all of them have, in the order of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_xg.datasets.attributions import Attributions
from captum_xg.errors import InputError, OptionError
from captum_xg.viewer.reduction import Numbers

Rows = dict[str, Any]
BATCH = 64
_FILL = {"tokens": -1, "attributions": 0}
"""What texts are padded with that are shorter than others."""
_PLACES = {"tokens": 1, "attributions": 2}
"""The dimension of the tokens, in a batch."""


def common_ids(runs: Sequence[Attributions], where: str) -> NDArray[np.int64]:
    """Return the ids that all runs have, ascending.

    Raises:
        InputError: If there are none, or the runs have explained other data under the same id.
    """
    kept = [run.ids.clone().numpy() for run in runs]
    ids: NDArray[np.int64] = kept[0]
    for own in kept[1:]:
        ids = np.intersect1d(ids, own, assume_unique=True)
    if not len(ids):
        alone = len(runs) == 1
        raise InputError(
            f"{where}: {runs[0].folder} has no example with attributions."
            if alone
            else f"{where}: {runs[0].folder} and {runs[1].folder} have no example in common."
        )
    first = _digests(runs[0], kept[0], ids)
    for run, own in zip(runs[1:], kept[1:], strict=True):
        other = _digests(run, own, ids)
        if (first != other).any():
            raise InputError(
                f"{where}: example {ids[first != other][0]} is another one in {run.folder} than in {runs[0].folder} "
                f"({int((first != other).sum())} of {len(ids)} differ). Compare runs over the same data, normalised "
                "alike."
            )
    return ids


def _digests(run: Attributions, own: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    digests: NDArray[np.int64] = run.digests.clone().numpy()
    return digests[np.searchsorted(own, ids)]


def batches(runs: Sequence[Attributions], ids: NDArray[np.int64]) -> Iterator[list[Rows]]:
    """Yield rows of all runs for the same examples, at most :data:`BATCH` at a time."""
    for rows in runs[0].batches(BATCH):
        chosen = torch.from_numpy(np.isin(rows["id"].numpy(), ids))
        if not bool(chosen.any()):
            continue
        first = rows if bool(chosen.all()) else {name: _chosen(value, chosen) for name, value in rows.items()}
        others = [_together([run[run.index(id)] for id in first["id"].tolist()]) for run in runs[1:]]
        yield _of_one_length([first, *others])


def model_inputs(run: Attributions) -> int:
    """Return how many inputs the model has: as many as there are attributions, unless these are of layers."""
    shapes = run.settings.get("data", {}).get("shape")
    if shapes:
        return len(shapes)
    return 1 if run.settings.get("layer") is not None else len(run.inputs)


def attributions_of(rows: Rows, input: int, where: str) -> Tensor:
    """Return the attributions ``(n, K, …)`` of one input."""
    found = rows["attributions"]
    if isinstance(found, Tensor):
        if input:
            raise OptionError(f"{where}: `input` is {input}, but there is a single input, 0.")
        return found
    if not 0 <= input < len(found):
        raise OptionError(f"{where}: `input` must be from 0 to {len(found) - 1}, but is {input}.")
    shown: Tensor = found[input]
    return shown


def sums_of(rows: Rows) -> Numbers:
    """Return the sum of the attributions of all inputs, ``(n, K)``."""
    found = rows["attributions"]
    parts = [found] if isinstance(found, Tensor) else list(found)
    return np.asarray(sum(part.flatten(2).sum(2, dtype=torch.float64) for part in parts).numpy())  # type: ignore[union-attr]


@dataclass(frozen=True)
class Answers:
    """What a model says to a batch.

    Attributes:
        predictions: The class with the largest output, −1 where there is a single output.
        normaliser: log Σ exp of the outputs.
        top: The classes with the largest outputs, best first, ``(n, M)``.
        logits: Their outputs.
        probable: Whether each row sums to 1 and has nothing below 0: probabilities already.
    """

    predictions: NDArray[np.int64]
    normaliser: Numbers
    top: NDArray[np.int64]
    logits: Numbers
    probable: bool


def answers_of(outputs: Tensor, most: int) -> Answers:
    """Return what the page keeps of outputs ``(n, C)``."""
    wide = outputs.double()
    logits, top = wide.sort(dim=1, descending=True, stable=True)
    many = wide.shape[1] > 1
    probable = many and bool(((wide.sum(1) - 1).abs() < 1e-3).all()) and bool((wide >= 0).all())
    return Answers(
        top[:, 0].numpy() if many else np.full(len(wide), -1),
        wide.logsumexp(1).numpy(),
        top[:, :most].numpy(),
        logits[:, :most].numpy(),
        probable,
    )


def _chosen(value: Any, rows: Tensor) -> Any:
    return tuple(part[rows] for part in value) if isinstance(value, tuple) else value[rows]


def _together(singles: Sequence[Rows]) -> Rows:
    together: Rows = {}
    texts = "tokens" in singles[0]
    for name, value in singles[0].items():
        if not all(name in each for each in singles):
            continue  # labels that only some shards have
        if isinstance(value, tuple):
            together[name] = tuple(
                _stacked([each[name][i] for each in singles], name, texts) for i in range(len(value))
            )
        elif isinstance(value, Tensor):
            together[name] = _stacked([each[name] for each in singles], name, texts)
        else:
            together[name] = torch.tensor([each[name] for each in singles])
    return together


def _stacked(values: Sequence[Tensor], name: str, texts: bool) -> Tensor:
    if not (texts and name in _FILL):
        return torch.stack(tuple(values))
    at = _PLACES[name] - 1
    longest = max(value.shape[at] for value in values)
    return torch.stack([_lengthened(value, at, longest, _FILL[name]) for value in values])


def _of_one_length(rows: list[Rows]) -> list[Rows]:
    """Return rows of several runs; where they are texts, all padded to the longest of them."""
    if not all(isinstance(own["attributions"], Tensor) and are_texts(own, own["attributions"]) for own in rows):
        return rows
    longest = max(own["tokens"].shape[1] for own in rows)
    return [
        {**own, **{name: _lengthened(own[name], at, longest, _FILL[name]) for name, at in _PLACES.items()}}
        for own in rows
    ]


def are_texts(rows: Rows, attributions: Tensor) -> bool:
    """Return whether there is an attribution, or a vector of them, for each token."""
    return "tokens" in rows and attributions.shape[2:3] == rows["tokens"].shape[1:]


def _lengthened(values: Tensor, at: int, length: int, fill: int) -> Tensor:
    missing = list(values.shape)
    missing[at] = length - values.shape[at]
    return torch.cat([values, values.new_full(missing, fill)], at) if missing[at] else values
