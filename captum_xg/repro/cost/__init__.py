"""Appendix B.3 of the paper: what a training step with an attribution prior costs."""

from captum_xg.repro.cost.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
