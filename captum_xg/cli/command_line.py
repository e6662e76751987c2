"""Entry point of ``captum-xg`` and ``python -m captum_xg``: parses the arguments and runs one command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from captum_xg._version import __version__
from captum_xg.cli import attribute, certify, convert, demo, distance, evaluate, explain, repro, view
from captum_xg.cli.endings import DEBUG, failed
from captum_xg.cli.parser import Left, Parser

COMMANDS = (demo, explain, attribute, view, certify, convert, distance, evaluate, repro)


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
    except Left:
        raise
    except BaseException as error:  # a model may raise whatever it likes, SystemExit with status 0 too
        return failed(options.command, error)
    return status


def _parser() -> Parser:
    parser = Parser(
        prog="captum-xg",
        description="Integrated Gradients in one forward and one backward pass, for networks with F(αx) = αF(x).",
        epilog="Exit status: 0 done, 2 wrong arguments, 3 could not run; certify and convert say more in theirs. With "
        f"{DEBUG}=1 in the environment, whatever goes wrong is shown with its traceback.",
    )
    parser.add_argument("--version", action="version", version=f"captum-xg {__version__}")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
