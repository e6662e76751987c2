"""Table 2 of the paper: accuracy with and without biases, and how far single gradients are from the integral."""

from captum_xg.repro.table2.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
