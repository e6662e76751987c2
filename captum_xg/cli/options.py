"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

from captum_xg._core.text import in_one_line
from captum_xg.errors import CaptumXGError, OptionError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CHECK_INPUT = "Check --input: every shape begins with the number of examples, and there is one for each argument."


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a model."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="module:factory or path/to/file.py[:factory], where the factory is a module, or a class or function "
        "without arguments that makes one; or torchvision:NAME, with random weights",
    )


def random_inputs(shapes: Sequence[Sequence[int]], dtype: torch.dtype | None = None) -> tuple[Tensor, ...]:
    """Return random numbers of the shapes that ``--input`` gives.

    Raises:
        OptionError: If there is no room for them.
    """
    import torch

    inputs = []
    for sizes in shapes:
        try:
            inputs.append(torch.randn(*sizes, dtype=dtype))
        except (RuntimeError, TypeError, ValueError, MemoryError, OverflowError) as error:
            listed = ",".join(map(str, sizes))
            raise OptionError(
                f"--input {listed}: an input of {Decimal(math.prod(sizes)):.3g} numbers cannot be made here "
                f"({in_one_line(error)}). Give smaller sizes; one example is enough."
            ) from error
    return tuple(inputs)


@contextmanager
def running(target: str, shapes: Iterable[Sequence[int]], what: str, advice: str) -> Iterator[None]:
    """Turn whatever a model raises, SystemExit too, into an error that says on what it fails and where.

    Args:
        target: The model, as it was named.
        shapes: Of its inputs.
        what: Its inputs are called in the message.
        advice: What to do.
    """
    from captum_xg.cli.model_spec import described

    try:
        yield
    except CaptumXGError:
        raise
    except (Exception, SystemExit) as error:
        listed = " and ".join(",".join(map(str, sizes)) for sizes in shapes)
        raise OptionError(f"{target} fails on {what} of shape {listed}: {described(error)}\n  {advice}") from error


def shape(text: str) -> tuple[int, ...]:
    """Return the shape that a text like 1,3,224,224 gives."""
    sizes = text.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape; write positive sizes with commas, like 1,3,224,224")
    return tuple(map(int, sizes))


def keys(text: str) -> tuple[int | str, ...]:
    """Return the path of keys and indices that a text like out.0 gives."""
    return tuple(int(key) if key.lstrip("-").isdecimal() else key for key in text.split("."))
