"""Errors of code that a command runs for its user, told by what failed and where."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from captum_xg._core.failures import in_one_line
from captum_xg.errors import OptionError


@contextmanager
def failing_as(message: Callable[[str], str], *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn whatever foreign code raises, SystemExit too, into an error whose message is made from its description.

    What is ``passing`` is told in full already.
    """
    try:
        yield
    except passing:
        raise
    except (Exception, SystemExit) as error:
        raise OptionError(message(_described(error))) from error


def _described(error: BaseException) -> str:
    """Return type and text of an error, and the line outside of libraries that it comes from."""
    import torch

    libraries = (str(Path(file).parent) for file in (__file__, torch.__file__, importlib.__file__))
    own = (*libraries, "<frozen")
    lines = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(own)]
    return in_one_line(error) + (f" ({lines[-1].filename}:{lines[-1].lineno})" if lines else "")
