"""Figure 1 of the paper: a sparsity prior on few training points of NHANES I."""

from captum_xg.repro.sparsity.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
