"""Figure 2: accuracy over contrast, and attributions of an image at two contrasts, for AlexNet and X-AlexNet."""

from captum_xg.repro.figure2.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
