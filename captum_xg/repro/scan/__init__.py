"""Scan experiment: what a network relies on is found by explaining all its data, and cured by a prior."""

from captum_xg.repro.scan.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
