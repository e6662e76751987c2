"""Trainings of the decoy experiment on disk: one file each, with the weights of its network beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from captum_xg._core.files import write_json, write_tensors
from captum_xg._core.reading import REDO, Check, is_amount, is_count, is_share, is_text, unreadable
from captum_xg.models import load_checkpoint
from captum_xg.repro.decoy.protocol import Method
from captum_xg.repro.store import ResultFolder

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


class Store(ResultFolder[Run]):
    """The trainings of one experiment, in the folder ``runs`` of its results."""

    record_type = Run
    noun = "training"
    checks: ClassVar[Mapping[str, Check]] = {
        "method": is_text,
        "weight": is_amount,
        "seed": is_count,
        "scores": lambda value: value is None or (isinstance(value, dict) and all(map(is_share, value.values()))),
    }

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        super().__init__(folder / "runs", settings)

    def run(self, method: Method, weight: float, seed: int) -> Run | None:
        """Return what is there of a training; None if it is yet to be done.

        Raises:
            FileError: If it cannot be read, or holds something else.
        """
        path = self._path(method, weight, seed)
        if not path.exists():
            return None
        run = self.record(self.read(path), path)
        if (run.method, run.weight, run.seed) != (method.key, weight, seed):
            raise unreadable(path, "it holds another training than its name says", REDO)
        return run

    def add(self, method: Method, run: Run, weights: Mapping[str, Tensor] | None = None) -> None:
        """Add a training, and the weights of its network if they are given."""
        path = self._path(method, run.weight, run.seed)
        if weights is not None:
            write_tensors(path.with_suffix(".pt"), {name: tensor.cpu() for name, tensor in weights.items()})
        write_json(path, asdict(run))  # last, for it says that the training is done

    def load(self, model: nn.Module, method: Method, weight: float, seed: int) -> bool:
        """Set the weights of a network in a model; return whether there are any.

        Raises:
            CheckpointError: If they cannot be read, or do not fit; the model is then as it was.
        """
        path = self._path(method, weight, seed).with_suffix(".pt")
        if path.exists():
            load_checkpoint(model, path)
        return path.exists()

    def _path(self, method: Method, weight: float, seed: int) -> Path:
        strength = f"_{weight:g}" if method.has_prior else ""
        return self.folder / f"{method.key}{strength}_seed{seed}.json"
