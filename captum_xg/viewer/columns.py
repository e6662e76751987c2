"""Numbers of examples that users bring along, to sort and filter by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_xg.errors import OptionError, OptionTypeError


def further_columns(
    columns: Mapping[str, Any], own: NDArray[np.int64], ids: NDArray[np.int64], where: str
) -> list[tuple[str, NDArray[np.float32]]]:
    """Return columns of numbers by name, for the examples that are shown.

    Args:
        columns: Name → one number for each of ``own``.
        own: The ids that the numbers are of.
        ids: Those that are shown.
        where: For messages.

    Raises:
        OptionTypeError: If these are no numbers by name.
        OptionError: If there are more or fewer than examples.
    """
    if not isinstance(columns, Mapping):
        raise OptionTypeError(f"{where}: `columns` must be numbers by name, but is {type(columns).__name__}.")
    place = np.searchsorted(own, ids)
    return [(str(name), _numbers(values, str(name), len(own), where)[place]) for name, values in columns.items()]


def _numbers(values: object, name: str, count: int, where: str) -> NDArray[np.float32]:
    plain = values.detach().to("cpu").double().clone().numpy() if isinstance(values, Tensor) else values
    try:
        numbers = np.array(plain, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise OptionTypeError(
            f"{where}: `columns[{name!r}]` must be numbers, but is {type(values).__name__}."
        ) from error
    if numbers.shape != (count,):
        raise OptionError(
            f"{where}: `columns[{name!r}]` must have one number for each of {count} examples, but has the shape "
            f"{numbers.shape}."
        )
    if np.isinf(numbers).any():
        raise OptionError(f"{where}: `columns[{name!r}]` has infinity. Put NaN where there is no number.")
    return numbers
