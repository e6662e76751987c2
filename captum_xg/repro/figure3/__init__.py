"""Figure 3 of the paper: how many steps Integrated Gradients needs, by rule of integration, against two references."""

from captum_xg.repro.figure3.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
