"""What is drawn, as arrays: attributions of one method or of several by name, checked before a figure is begun."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_xg.errors import InputError, OptionError, OptionTypeError

Attributions = Tensor | Mapping[str, Tensor]


def array_of(value: object, name: str, where: str) -> NDArray[np.float64]:
    """Return a tensor or array as float64 numbers on the CPU.

    Raises:
        InputError: If it is neither, is empty, or has NaN or infinity.
    """
    if not isinstance(value, (Tensor, np.ndarray)):
        raise InputError(f"{where}: `{name}` must be a tensor, but is {type(value).__name__}.")
    tensor = torch.as_tensor(value).detach()
    if tensor.is_complex() or tensor.numel() == 0:
        kind = "complex numbers" if tensor.is_complex() else f"nothing in it (shape {tuple(tensor.shape)})"
        raise InputError(f"{where}: `{name}` has {kind}; pass real numbers.")
    numbers: NDArray[np.float64] = tensor.to("cpu", torch.float64).numpy()
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: `{name}` has NaN or infinity, which has no place in a picture.")
    return numbers


def by_name(attributions: object, where: str) -> dict[str, NDArray[np.float64]]:
    """Return the attributions of each method; of a single one without a name under ``""``.

    Raises:
        InputError: If they are no tensors, or there are none.
    """
    if not isinstance(attributions, Mapping):
        return {"": array_of(attributions, "attributions", where)}
    if not attributions:
        raise InputError(f"{where}: `attributions` is an empty mapping; pass at least one method's.")
    return {str(name): array_of(a, f"attributions[{name!r}]", where) for name, a in attributions.items()}


def checked_names(names: object, count: int, name: str, unit: str, where: str) -> list[str]:
    """Return one text for each of so many things.

    Raises:
        OptionTypeError: If there is nothing to go through, or a single text.
        OptionError: If there are more or fewer.
    """
    # Whatever has them in order: the columns of a data frame and arrays are no sequences.
    if isinstance(names, (str, set, frozenset, Mapping)) or not isinstance(names, Iterable):
        raise OptionTypeError(f"{where}: `{name}` must be a list with one text per {unit}, but is {names!r}.")
    texts = [str(each) for each in names]
    if len(texts) != count:
        raise OptionError(f"{where}: `{name}` must have one text for each of {count} {unit}s, but has {len(texts)}.")
    return texts
