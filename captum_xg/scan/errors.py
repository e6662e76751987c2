"""What ends a run over a data set: an example that cannot be read or explained, or what is wrong with the model."""

from __future__ import annotations

import torch

from captum_xg.errors import (
    CaptumXGError,
    CrossExampleError,
    DegreeError,
    ModelStateError,
    NondeterministicForwardError,
    OptionError,
    TrainingModeError,
)

OF_THE_MODEL = (
    CrossExampleError,
    DegreeError,
    ModelStateError,
    NondeterministicForwardError,
    OptionError,
    TrainingModeError,
    MemoryError,
    torch.OutOfMemoryError,
)
"""What is wrong with the model or the machine, and not with an example."""


class ExampleError(CaptumXGError, RuntimeError):
    """An example of a data set cannot be read or explained; what was finished before it is kept.

    Attributes:
        example: Its position in the data.
    """

    def __init__(self, message: str, example: int) -> None:
        super().__init__(message)
        self.example = example

    def __reduce__(self) -> tuple[type[ExampleError], tuple[str, int]]:
        return type(self), (str(self), self.example)
