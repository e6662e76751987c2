"""The command line: one file a command, and ``main``, which dispatches to them."""

from captum_xg.cli.command_line import main

__all__ = ["main"]
