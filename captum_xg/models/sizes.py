"""Arguments that the builders of networks have in common."""

from __future__ import annotations

from typing import Any

from captum_xg._core.options import number_that, positive_integer


def checked_sizes(num_classes: Any, in_channels: Any, where: str) -> tuple[int, int]:
    """Return the numbers of classes and of channels.

    Raises:
        OptionTypeError: If one is no integer.
        OptionError: If one is not positive.
    """
    return positive_integer(num_classes, "num_classes", where), positive_integer(in_channels, "in_channels", where)


def checked_dropout(dropout: Any, where: str) -> float:
    """Return a probability of dropout.

    Raises:
        OptionTypeError: If it is no number.
        OptionError: If it is not in [0, 1].
    """
    return number_that(dropout, lambda p: 0 <= p <= 1, "a probability in [0, 1]", "dropout", where)
