"""Networks whose true attribution is known by construction, and how near attribution methods come to it."""

from captum_xg.repro.truth.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
