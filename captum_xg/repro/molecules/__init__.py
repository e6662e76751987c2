"""Molecules: message passing of degree 1 beside its twin, and attributions of atoms beside known contributions."""

from captum_xg.repro.molecules.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
