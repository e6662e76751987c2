"""What ends a run over a data set: an example that cannot be read or explained."""

from __future__ import annotations

from captum_xg.errors import CaptumXGError


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
