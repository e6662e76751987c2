"""Experiments of the paper as commands: one folder each, on the shared files of this room.

A new experiment is a folder ``captum_xg/repro/NAME`` that has the three functions of
:class:`~captum_xg.repro.experiment.Experiment`, and one line in ``captum_xg.cli.repro.EXPERIMENTS``. Those on images
take their networks from ``subjects``, their parts from ``units``, and their claims and verdicts from ``section`` and
``verdicts``; :func:`~captum_xg.repro.running.running` makes their ``run``.
"""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.repro import decoy as decoy
    from captum_xg.repro import sparsity as sparsity
else:
    __getattr__, __dir__ = on_demand(__name__)
