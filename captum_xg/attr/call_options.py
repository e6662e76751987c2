"""Options of a call that all classes of X-Gradient take, checked, and what their errors say further."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from captum_xg._core.captum_compat import SUPPORTED_METHODS, compute_gradients
from captum_xg._core.options import one_of, positive_integer
from captum_xg.errors import CaptumXGError, OptionError


def require_options_of_integration(n_steps: object, method: object, where: str) -> None:
    """Check the options that say how Captum integrates: they change nothing here, but wrong ones are errors there.

    Raises:
        OptionTypeError, OptionError: If Captum would refuse them.
    """
    positive_integer(n_steps, "n_steps", where)
    one_of(method, SUPPORTED_METHODS, "method", where)


def require_gradients_of_f(gradient_func: object, where: str) -> None:
    """Refuse a ``gradient_func`` that was replaced: an integral is held against the values of F.

    Raises:
        OptionError: If it is not Captum's own.
    """
    if gradient_func is not compute_gradients:
        raise OptionError(
            f"{where}: `gradient_func` was replaced, so that F no longer tells what its integral should be."
        )


def with_further(attributions: Any, *further: object) -> Any:
    """Return attributions alone, or a tuple of them and what further was asked for, which is not None."""
    asked = [part for part in further if part is not None]
    return (attributions, *asked) if asked else attributions


def rows_at_once(internal_batch_size: object, where: str) -> int | None:
    """Return the most pairs of an example and a target in one backward pass; None if that was not limited."""
    return None if internal_batch_size is None else positive_integer(internal_batch_size, "internal_batch_size", where)


def batch_size(internal_batch_size: object, n: int, where: str) -> int:
    """Return the most examples in one forward pass: all n if that was not limited."""
    return positive_integer(n if internal_batch_size is None else internal_batch_size, "internal_batch_size", where)


@contextmanager
def said_further(sentence: Callable[[], str]) -> Iterator[None]:
    """Add a sentence to the errors of the body: what its words mean in this call."""
    try:
        yield
    except CaptumXGError as error:
        error.args = (f"{error.args[0]}\n  {sentence()}", *error.args[1:])
        raise
