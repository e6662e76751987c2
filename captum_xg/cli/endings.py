"""Endings of a command that did not get through: one message, and an exit status that cannot be taken for a verdict.

Scripts take 0, 1 and 2 of ``certify`` for proven, disproved and unknown. So whatever ends a command early, a model that
calls ``sys.exit(0)`` included, has a status of its own: 3, 130 for an interruption, 141 if the reader of a pipe left.
"""

from __future__ import annotations

import os
import select
import sys
import traceback
from contextlib import suppress

from captum_xg._core.text import in_one_line
from captum_xg.cli.parser import COULD_NOT_RUN, INTERRUPTED, NOBODY_READS, say
from captum_xg.errors import CaptumXGError

DEBUG = "CAPTUM_XG_DEBUG"


def failed(command: str, error: BaseException) -> int:
    """Say what went wrong, and return the exit status."""
    if os.environ.get(DEBUG):
        with suppress(Exception):
            traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        say(f"captum-xg {command}: interrupted")
        return INTERRUPTED
    flushed = _flushed()
    if isinstance(error, BrokenPipeError) and (not flushed or _reader_is_gone()):  # else it is of a pipe of the model's
        return NOBODY_READS  # as of `| head`, which asked for no more
    # What is meant for users says where, what, why and what to do; of the rest there is only what it says itself.
    if isinstance(error, CaptumXGError):
        say(f"captum-xg {command}: {error}")
    else:
        more = "" if os.environ.get(DEBUG) else f" {DEBUG}=1 shows where."
        say(f"captum-xg {command}: failed with {in_one_line(error).removesuffix('.')}.{more}")
    return COULD_NOT_RUN


def _flushed() -> bool:
    """Flush the output; where that cannot be done, let the interpreter not try it again at its end."""
    if sys.stdout is None:
        return True
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _reader_is_gone() -> bool:
    """Whether the output is a pipe or socket that nobody can read from; without a buffer, flushing does not tell."""
    if sys.stdout is None or not hasattr(select, "poll"):
        return False
    try:
        poller = select.poll()
        poller.register(sys.stdout.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poller.poll(0))
    except (OSError, ValueError):
        return False
