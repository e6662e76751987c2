"""The choice of tensors among what a model returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from torch import Tensor
from torch.utils._pytree import tree_leaves

from captum_xg.errors import ForwardOutputError, OptionError, OptionTypeError

Output: TypeAlias = int | str | tuple[int | str, ...] | Callable[[Any], Any] | None
"""Which part of a model's output is meant: a key, a path of keys, a function of it, or all of it (None)."""


def chosen_outputs(result: Any, output: Output, where: str) -> list[Tensor]:
    """Return the chosen tensors of F's output: those with floating-point numbers, if there are any."""
    try:
        if callable(output):
            result = output(result)
        elif output is not None:
            for key in output if isinstance(output, tuple) else (output,):
                result = result[key] if not isinstance(key, str) or isinstance(result, dict) else getattr(result, key)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise OptionError(
            f"{where}: `output` = {output!r} is not in what the forward function returns: {error!r}."
        ) from None
    tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    floating = [y for y in tensors if y.dtype.is_floating_point or y.dtype.is_complex]
    if not tensors:
        raise ForwardOutputError(
            f"{where}: the forward function returns {type(result).__name__}, with no tensor in it to prove anything of."
        )
    if any(y.is_meta for y in tensors):
        raise ForwardOutputError(
            f"{where}: the forward function returns a tensor on the meta device, which holds no numbers."
        )
    return floating or tensors


def one_output(result: object, output: Output, where: str) -> Tensor:
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


def _plain(result: object) -> object:
    """Return dicts of other classes and dataclasses as dicts, into which PyTorch can look."""
    if isinstance(result, Mapping):
        return {str(key): _plain(value) for key, value in result.items()}
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {field.name: _plain(getattr(result, field.name)) for field in dataclasses.fields(result)}
    return result
