"""Figure 4: attributions of more images at two contrasts, for AlexNet and X-AlexNet."""

from captum_xg.repro.figure4.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
