"""Texts: networks of degree 1 on rated sentences, and their words beside what people think of them."""

from captum_xg.repro.texts.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
