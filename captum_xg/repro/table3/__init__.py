"""Table 3: attribution methods by masking metrics, on AlexNet and X-AlexNet, in both protocols and with other masks."""

from captum_xg.repro.table3.command import add_arguments, run, section

__all__ = ["add_arguments", "run", "section"]
