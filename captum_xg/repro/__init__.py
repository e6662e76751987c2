"""The experiments of the paper as commands: one module each, with ``add_arguments(parser)`` and ``run(options)``."""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.repro import decoy as decoy
    from captum_xg.repro import sparsity as sparsity
else:
    __getattr__, __dir__ = on_demand(__name__)
