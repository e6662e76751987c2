"""Data sets that the experiments are run on."""
