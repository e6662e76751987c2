"""The one tensor that is meant of what a model returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from captum_xg.errors import ForwardOutputError, OptionTypeError
from captum_xg.homogeneity.certificate.certify import Output, chosen_outputs


def one_output(result: Any, output: Output, where: str) -> Tensor:
    """Return the tensor that is chosen, or the only one there is.

    Args:
        result: What the model returned: a tensor, a tuple, a dict, or an object such as those of transformers.
        output: A key, a path of keys, or a function of what the model returned; None if it has one tensor.
        where: What messages begin with.

    Raises:
        OptionError: If there is no such part.
        ForwardOutputError: If there are several tensors, or none.
    """
    try:
        chosen = chosen_outputs(_plain(result) if output is None else result, output, where)
    except ForwardOutputError:
        raise ForwardOutputError(
            f"{where}: the model returns {type(result).__name__}, with no tensor in it"
            f"{'' if output is None else f' where output={output!r} points to'}."
        ) from None
    if len(chosen) != 1:
        raise ForwardOutputError(
            f"{where}: the model returns {len(chosen)} tensors, and nothing says which is meant. Pass output=…, a "
            "key, a path of keys, or a function of what the model returns."
        )
    return chosen[0]


def checked_output(output: Any, where: str) -> Output:
    """Return the choice of a part of the outputs if it may be one: a key, a path of keys, a function, or None.

    Raises:
        OptionTypeError: If it is something else.
    """
    keys = output if isinstance(output, tuple) and output else (output,)
    key = all(isinstance(k, (int, str)) and not isinstance(k, bool) for k in keys)
    if output is not None and not key and (isinstance(output, type) or not callable(output)):
        raise OptionTypeError(
            f"{where}: `output` must be a key, a path of keys, or a function of what the model returns, but is "
            f"{output!r}."
        )
    return output  # type: ignore[no-any-return]


def _plain(result: Any) -> Any:
    """Return dicts of other classes and dataclasses as dicts, into which PyTorch can look."""
    if isinstance(result, Mapping):
        return {str(key): _plain(value) for key, value in result.items()}
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: _plain(getattr(result, field.name)) for field in dataclasses.fields(result)}
    return result
