"""The command line: ``captum-xg`` and ``python -m captum_xg``."""

from __future__ import annotations

import argparse
import os
import select
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from captum_xg._core.text import in_one_line
from captum_xg._version import __version__
from captum_xg.cli import certify, convert, evaluate, repro
from captum_xg.errors import CaptumXGError

COULD_NOT_RUN, INTERRUPTED, NOBODY_READS = 3, 130, 141  # the last two as shells have them: 128 + SIGINT, SIGPIPE
DEBUG = "CAPTUM_XG_DEBUG"


class _Left(SystemExit):
    """The end that argparse asks for, after --help or wrong arguments; one that a user's model asks for is another."""


class _Parser(argparse.ArgumentParser):
    """Leaves with the exit status that its command has for wrong arguments."""

    wrong_arguments = 2

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(self.wrong_arguments, f"{self.prog}: error: {message}\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        if message:
            _say(message.removesuffix("\n"))
        raise _Left(status)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 2 wrong arguments, 3 could not run.

    Whatever goes wrong in reading, building and running becomes one message and status 3, with the traceback if the
    environment variable ``CAPTUM_XG_DEBUG`` is set. Interrupted it is 130, and 141 if nobody reads the output any more.
    ``certify`` and ``convert`` give their answers by 1 and 2, as their ``--help`` says.
    """
    # Output goes to pipes and logs whose encoding may not know α: better a question mark than a crash.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.command is None:
        parser.print_help()
        return 2
    try:
        status = int(options.run(options))
        if sys.stdout is not None:
            sys.stdout.flush()  # not at the end of the interpreter, where what goes wrong has a status of its own
    except _Left:
        raise
    except BaseException as error:  # a model may raise whatever it likes, SystemExit with status 0 too
        return _failed(options.command, error)
    return status


def _failed(command: str, error: BaseException) -> int:
    """Say what went wrong, and return the exit status."""
    if os.environ.get(DEBUG):
        with suppress(Exception):
            traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        _say(f"captum-xg {command}: interrupted")
        return INTERRUPTED
    flushed = _flushed()
    if isinstance(error, BrokenPipeError) and (not flushed or _reader_is_gone()):  # else it is of a pipe of the model's
        return NOBODY_READS  # as of `| head`, which asked for no more
    # What is meant for users says where, what, why and what to do; of the rest there is only what it says itself.
    if isinstance(error, CaptumXGError):
        _say(f"captum-xg {command}: {error}")
    else:
        more = "" if os.environ.get(DEBUG) else f" {DEBUG}=1 shows where."
        _say(f"captum-xg {command}: failed with {in_one_line(error).removesuffix('.')}.{more}")
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


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # nobody listens
        if sys.stderr is not None:
            print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="captum-xg",
        description="Integrated Gradients in one forward and one backward pass, for networks with F(αx) = αF(x).",
        epilog="Exit status: 0 done, 2 wrong arguments, 3 could not run; certify and convert say more in theirs. With "
        f"{DEBUG}=1 in the environment, whatever goes wrong is shown with its traceback.",
    )
    parser.add_argument("--version", action="version", version=f"captum-xg {__version__}")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="X-Gradient against Integrated Gradients on real images, with a picture; needs no download",
        description="Compare X-Gradient with Captum's Integrated Gradients on real images and two trained networks "
        "that come with the package, show what a refusal looks like, and write one picture.",
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("captum-xg-demo.png"),
        metavar="PNG",
        help="the picture (default: %(default)s)",
    )
    demo.add_argument(
        "--images", type=_positive, default=32, metavar="N", help="how many images to explain (default: %(default)s)"
    )
    demo.add_argument(
        "--retrain",
        type=Path,
        metavar="DATA_ROOT",
        help="train both networks anew first, on Fashion-MNIST under DATA_ROOT (downloaded there if it is missing); "
        "about 8 minutes on two cores",
    )
    demo.add_argument("--epochs", type=_positive, default=8, metavar="N", help="for --retrain (default: %(default)s)")
    demo.add_argument(
        "--assets",
        type=Path,
        metavar="DIR",
        help="where the networks and images are read from, and written to by --retrain (default: those of the package; "
        "for --retrain captum-xg-demo-assets)",
    )
    demo.set_defaults(run=_demo, parser=demo)
    certify.add_parser(commands)
    convert.add_parser(commands)
    evaluate.add_parser(commands)
    repro.add_parser(commands)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from captum_xg.demo.assets import ASSETS
    from captum_xg.demo.run import require_picture, run_demo
    from captum_xg.demo.train import retrain

    assets = options.assets or ASSETS
    require_picture(options.output)
    if options.retrain is not None:
        assets = options.assets or Path("captum-xg-demo-assets")
        accuracies = retrain(options.retrain, assets, epochs=options.epochs)
        for name, accuracy in accuracies.items():
            print(f"trained the network {name}: {accuracy:.2%} of the 10,000 test images recognised")
        print(f"Weights and images: {Path(assets).resolve()}\n")
    run_demo(options.output, n_images=options.images, assets=assets)
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
