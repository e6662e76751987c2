"""Images restored without biases: noise that was not trained on, and the filter of each pixel."""

from captum_xg.repro.restoration.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
