"""Arguments that several commands take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from captum_xg.errors import OptionError


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a model."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="module:factory or path/to/file.py[:factory], where the factory is a module, or a class or function "
        "without arguments that makes one; or torchvision:NAME, with random weights",
    )


def failing(target: str, shapes: Sequence[Sequence[int]], error: Exception, what: str = "random inputs") -> OptionError:
    """Return the error to raise for a model that fails on inputs of some shapes."""
    from captum_xg.targets import described

    listed = " and ".join(",".join(map(str, sizes)) for sizes in shapes)
    return OptionError(
        f"{target} fails on {what} of shape {listed}: {described(error)}\n"
        "  Check --input: every shape begins with the number of examples, and there is one for each argument."
    )


def shape(text: str) -> tuple[int, ...]:
    """Return the shape that a text like 1,3,224,224 gives."""
    sizes = text.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape; write positive sizes with commas, like 1,3,224,224")
    return tuple(map(int, sizes))


def keys(text: str) -> tuple[int | str, ...]:
    """Return the path of keys and indices that a text like out.0 gives."""
    return tuple(int(key) if key.lstrip("-").isdecimal() else key for key in text.split("."))
