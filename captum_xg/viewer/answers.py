"""What a run's model says to the examples: columns, and the classes with the largest outputs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from captum_xg.viewer.chunks import ChunkWriter, column, singly
from captum_xg.viewer.reduction import Numbers
from captum_xg.viewer.runs import answers_of

_TOP = 10
"""The most classes whose outputs are kept for each example."""


@dataclass
class RunColumns:
    """Writes the largest outputs of each example, and keeps its prediction.

    Attributes:
        number: Of the run.
    """

    number: int
    outputs: int = 0
    probable: bool = True
    _parts: list[tuple[Numbers, Numbers, Numbers]] = field(default_factory=list)

    def open(self, folder: Path, stack: ExitStack) -> None:
        """Begin to write chunks."""
        self._writer = stack.enter_context(ChunkWriter(folder, f"outputs{self.number}", 12 * _TOP))

    def add(self, outputs: Tensor) -> None:
        """Add a batch, ``(n, C)``."""
        wide = outputs.reshape(len(outputs), -1)
        self.outputs = wide.shape[1]
        answers = answers_of(wide, _TOP)
        self.probable = self.probable and answers.probable
        self._parts.append((answers.predictions.astype(float), answers.normaliser, answers.logits[:, 0]))
        for classes, logits in zip(answers.top, answers.logits, strict=True):
            self._writer.add(classes.astype("<i4").tobytes() + logits.astype("<f8").tobytes())

    def columns(self) -> list[dict[str, str]]:
        """Return prediction, normaliser and confidence, the probability of the prediction."""
        predictions, normaliser, largest = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        found = [column(f"prediction.{self.number}", predictions.astype(np.int32))]
        if self.outputs > 1:
            with np.errstate(invalid="ignore"):  # of infinite outputs there is none
                confidence = largest if self.probable else np.exp(largest - normaliser)
            found.append(column(f"normaliser.{self.number}", singly(normaliser)))
            found.append(column(f"confidence.{self.number}", singly(confidence)))
        return found

    @property
    def family(self) -> dict[str, object]:
        """What the page has to know to find an example."""
        return self._writer.told()
