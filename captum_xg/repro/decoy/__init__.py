"""Decoy experiment: attribution priors against a patch that gives the label away."""

from captum_xg.repro.decoy.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
