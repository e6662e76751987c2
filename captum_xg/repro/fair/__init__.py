"""Figure 1 of the paper under other choices than the paper's: which of its statements depend on them?"""

from captum_xg.repro.fair.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
