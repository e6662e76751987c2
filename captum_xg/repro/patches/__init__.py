"""Images in patches: a transformer of degree 1 beside a regular one."""

from captum_xg.repro.patches.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
