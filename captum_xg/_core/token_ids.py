"""Inputs that the forward function uses as indices: ids of tokens, categories or nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_xg._core.function import additional_arguments
from captum_xg._core.inputs import advice_on_ids, format_inputs
from captum_xg._core.modules import named_modules_of
from captum_xg._core.state import preserve_state
from captum_xg._core.types import ForwardFunction
from captum_xg.errors import CaptumXGError, InputError


@contextmanager
def ids_refused(
    forward_func: ForwardFunction, inputs: object, additional_forward_args: object, where: str
) -> Iterator[None]:
    """Say so where the body fails because forward_func uses floating-point inputs as indices.

    Integers become floating-point, as Integrated Gradients makes them, and an embedding refuses those in one of many
    wordings. It is recognised by trial and not by the wording: the forward function fails with the inputs as they are,
    runs with one of them as integers, and fails with the same numbers as floating-point ones.

    Raises:
        InputError: Naming the input, or the additional argument, that must hold integers.
    """
    try:
        yield
    except (CaptumXGError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        message = _message(forward_func, inputs, additional_arguments(additional_forward_args), where)
        if message is None:
            raise
        raise InputError(f"{where}: {message}") from error


def _message(forward_func: ForwardFunction, inputs: object, additional: tuple[Any, ...], where: str) -> str | None:
    """Return what to say if forward_func runs with some arguments as integers and not as they are, else None."""
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    formatted = format_inputs(given, where, finite=False)
    arguments = (*(x.detach() for x in formatted), *additional)
    n = len(formatted)
    with torch.inference_mode(False), preserve_state(forward_func, formatted[0].device):
        if _runs(forward_func, arguments):
            return None
        for chosen in _choices(given, additional):
            for as_integers in (_whole, _zeros):
                changed = tuple(as_integers(a) if i in chosen else a for i, a in enumerate(arguments))
                # That the same numbers still fail shows that it is the type, and not what the numbers are.
                alike = tuple(
                    c.to(a.dtype) if isinstance(c, Tensor) else c for c, a in zip(changed, arguments, strict=True)
                )
                if _runs(forward_func, changed) and not _runs(forward_func, alike):
                    return _of_inputs(chosen, inputs, forward_func) if chosen[0] < n else _of_arguments(chosen, n)
    return None


def _choices(given: Sequence[Tensor], additional: Sequence[object]) -> Iterator[tuple[int, ...]]:
    """Yield which arguments may be the ids: the inputs that were integers, each input, all; then the others alike."""
    n = len(given)
    integers = tuple(i for i, x in enumerate(given) if not x.dtype.is_floating_point)
    others = tuple(n + i for i, a in enumerate(additional) if isinstance(a, Tensor) and a.dtype.is_floating_point)
    tried: set[tuple[int, ...]] = {()}
    for chosen in (integers, *((i,) for i in range(n)), tuple(range(n)), *((i,) for i in others), others):
        if chosen not in tried:
            tried.add(chosen)
            yield chosen


def _whole(x: Tensor) -> Tensor:
    return x.detach().to(torch.int64)


def _zeros(x: Tensor) -> Tensor:
    """Return ids that every vocabulary has, in place of numbers that may lie outside this one."""
    return torch.zeros_like(x, dtype=torch.int64)


def _runs(forward_func: ForwardFunction, arguments: Sequence[object]) -> bool:
    copies = (a.clone() if isinstance(a, Tensor) else a for a in arguments)
    try:
        with torch.enable_grad():  # the forward function may differentiate by its parameters itself
            forward_func(*copies)
    except Exception:
        return False
    return True


def _of_inputs(chosen: tuple[int, ...], inputs: object, forward_func: ForwardFunction) -> str:
    names = " and ".join(f"`inputs[{i}]`" for i in chosen) if isinstance(inputs, tuple) else "`inputs`"
    layers = [
        path
        for path, module in named_modules_of(forward_func).values()
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and path
    ]
    found = f" (here {', '.join(map(repr, layers[:5]))})" if layers else ""
    others = isinstance(inputs, tuple) and len(chosen) < len(inputs)
    passed_on = f" To explain the other inputs only, pass {names} as additional_forward_args." if others else ""
    return (
        f"forward_func uses {names} as integers, such as the ids that an embedding{found} looks up: it fails with "
        f"floating-point numbers and runs with integers. {advice_on_ids(layers[0] if layers else None)}{passed_on}"
    )


def _of_arguments(chosen: tuple[int, ...], n: int) -> str:
    names = " and ".join(f"`additional_forward_args[{i - n}]`" for i in chosen)
    return (
        f"forward_func uses {names} as integers, such as indices: it fails with floating-point numbers and runs with "
        "integers. Pass them as integers: ids.long()."
    )
