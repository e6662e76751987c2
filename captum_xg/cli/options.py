"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import TYPE_CHECKING

from captum_xg._core.text import in_one_line
from captum_xg.cli.foreign_code import failing_as
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


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add the option that names weights."""
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="load these weights into the model first (a state dict or a checkpoint); 'shipped': those that come with "
        "the package for the small networks of captum_xg.models, trained on Fashion-MNIST",
    )


def add_shapes(parser: argparse.ArgumentParser, about: str, *, required: bool) -> None:
    """Add the option that gives the shapes of random inputs."""
    parser.add_argument(
        "--input",
        action="append",
        required=required,
        type=shape,
        metavar="SHAPE",
        dest="shapes",
        help=f"shape of {about}. Once for each input of the model",
    )


def add_output_and_json(parser: argparse.ArgumentParser, result: str) -> None:
    """Add the options that choose a part of what a model returns, and the form of what the command prints."""
    parser.add_argument(
        "--output",
        metavar="KEY",
        type=keys,
        help="which part of a tuple or dict that the model returns: a key or index, or a path of them with dots",
    )
    parser.add_argument("--json", action="store_true", help=f"print the {result} as JSON")


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


def running(target: str, shapes: Iterable[Sequence[int]], what: str, advice: str) -> AbstractContextManager[None]:
    """Turn whatever a model raises, SystemExit too, into an error that says on what it fails and where.

    Args:
        target: The model, as it was named.
        shapes: Of its inputs.
        what: Its inputs are called in the message.
        advice: What to do.
    """
    listed = " and ".join(",".join(map(str, sizes)) for sizes in shapes)
    message = f"{target} fails on {what} of shape {listed}"
    return failing_as(lambda error: f"{message}: {error}\n  {advice}", passing=(CaptumXGError,))


def shape(text: str) -> tuple[int, ...]:
    """Return the shape that a text like 1,3,224,224 gives."""
    sizes = text.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape; write positive sizes with commas, like 1,3,224,224")
    return tuple(map(int, sizes))


def keys(text: str) -> tuple[int | str, ...]:
    """Return the path of keys and indices that a text like out.0 gives."""
    return tuple(int(key) if key.lstrip("-").isdecimal() else key for key in text.split("."))


def positive(text: str) -> int:
    """Return the positive integer that a text gives."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")
    return int(text)
