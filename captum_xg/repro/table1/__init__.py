"""Table 1 of the paper: which axioms do the attribution methods satisfy?"""

from captum_xg.repro.table1.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
