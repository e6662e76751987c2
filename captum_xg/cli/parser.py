"""Argument parser of the command line, whose exit statuses are those of its commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

COULD_NOT_RUN, INTERRUPTED, NOBODY_READS = 3, 130, 141
"""Of all commands; the last two as shells have them: 128 + SIGINT, SIGPIPE."""


class Left(SystemExit):
    """The end that argparse asks for, after --help or wrong arguments; one that a user's model asks for is another."""


class Parser(argparse.ArgumentParser):
    """Leaves with the exit status that its command has for wrong arguments."""

    wrong_arguments = 2

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and leave."""
        self.print_usage(sys.stderr)
        self.exit(self.wrong_arguments, f"{self.prog}: error: {message}\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Leave with that status."""
        if message:
            say(message.removesuffix("\n"))
        raise Left(status)


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    help: str,
    description: str,
    epilog: str | None = None,
) -> Parser:
    """Add a command, of which ``run`` returns the exit status, and return its parser."""
    parser = commands.add_parser(name, help=help, description=description, epilog=epilog)
    parser.set_defaults(run=run, parser=parser)
    return parser


def say(text: str) -> None:
    """Print a message, if anybody listens."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(text, file=sys.stderr, flush=True)
