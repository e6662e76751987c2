"""Results on disk: one file per training, so that an interrupted experiment goes on where it stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from captum_xg._core.files import write_json, write_tensors
from captum_xg._core.reading import (
    ANEW,
    Check,
    is_amount,
    is_count,
    is_share,
    is_text,
    read_json,
    read_tensors,
    require_fields,
    unreadable,
)
from captum_xg.models import load_checkpoint
from captum_xg.repro.decoy.protocol import Method
from captum_xg.repro.files import settle

SCORES = frozenset({"validation", "confounded", "test", "test_decoy", "test_clean", "patch_share"})


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        method: Its key.
        weight: λ; 0 without a prior.
        seed: Of the training.
        scores: What :func:`captum_xg.repro.decoy.training.evaluate` returns; None if training diverged.
    """

    method: str
    weight: float
    seed: int
    scores: dict[str, float] | None

    def __post_init__(self) -> None:
        if self.scores is not None and (
            set(self.scores) != SCORES or not all(0 <= float(v) <= 1 for v in self.scores.values())
        ):
            raise ValueError(f"scores must be {', '.join(sorted(SCORES))} from 0 to 1 but are {self.scores}")

    @property
    def validation(self) -> float:
        """Accuracy on validation images with random decoys; −∞ if training diverged, so that it is never chosen."""
        return -math.inf if self.scores is None else self.scores["validation"]

    @property
    def confounded(self) -> float:
        """The same with decoys as in training."""
        return -math.inf if self.scores is None else self.scores["confounded"]


class Store:
    """The trainings of one experiment, in a folder.

    Args:
        folder: Made if it is missing.
        settings: What trainings depend on besides method, λ and seed. Written to the folder the first time.

    Raises:
        OptionError: If the folder has trainings with other settings, or what is in it cannot be read.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder / "runs"
        settle(self.folder, settings)

    def run(self, method: Method, weight: float, seed: int) -> Run | None:
        """Return what is there of a training; None if it is yet to be done.

        Raises:
            FileError: If it cannot be read, or holds something else.
        """
        path = self._path(method, weight, seed)
        if not path.exists():
            return None
        content = read_json(path, ANEW)
        try:
            require_fields(content, _FIELDS)
            run = Run(**content)
        except ValueError as error:
            raise unreadable(path, f"it holds no training ({error})", ANEW) from error
        if (run.method, run.weight, run.seed) != (method.key, weight, seed):
            raise unreadable(path, "it holds another training than its name says", ANEW)
        return run

    def add(self, method: Method, run: Run, weights: Mapping[str, Tensor] | None = None) -> None:
        """Add a training, and the weights of its network if they are given."""
        path = self._path(method, run.weight, run.seed)
        if weights is not None:
            write_tensors(path.with_suffix(".pt"), {name: tensor.cpu() for name, tensor in weights.items()})
        write_json(path, asdict(run))  # last, for it says that the training is done

    def weights(self, method: Method, weight: float, seed: int) -> dict[str, Tensor] | None:
        """Return the weights of a network, on the CPU; None if there are none.

        Raises:
            FileError: If they cannot be read, or are something else.
        """
        path = self._path(method, weight, seed).with_suffix(".pt")
        if not path.exists():
            return None
        found = read_tensors(path, ANEW)
        if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
            raise unreadable(path, "it holds something other than weights", ANEW)
        return found

    def load(self, model: nn.Module, method: Method, weight: float, seed: int) -> bool:
        """Set the weights of a network in a model; return whether there are any.

        Raises:
            CheckpointError: If they cannot be read, or do not fit; the model is then as it was.
        """
        path = self._path(method, weight, seed).with_suffix(".pt")
        if not path.exists():
            return False
        load_checkpoint(model, path)
        return True

    def _path(self, method: Method, weight: float, seed: int) -> Path:
        strength = f"_{weight:g}" if method.attribution else ""
        return self.folder / f"{method.key}{strength}_seed{seed}.json"


_FIELDS: dict[str, Check] = {
    "method": is_text,
    "weight": is_amount,
    "seed": is_count,
    "scores": lambda value: value is None or (isinstance(value, dict) and all(map(is_share, value.values()))),
}
