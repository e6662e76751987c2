"""All experiments in one report: what the paper says, what comes out here, and a verdict on each statement."""

from captum_xg.repro.report.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
