"""Captum's names for the import line of a script or notebook, with Integrated Gradients as X-Gradient computes them.

``from captum.attr import …`` becomes ``from captum_xg.integrations.captum import …``, and that is the one line to
change: all names of ``captum.attr`` are here. Three of them are classes with Captum's names and arguments that compute
in closed form where the model is homogeneous, and else integrate to a tolerance, as
:func:`~captum_xg.integrations.swapped_in` puts them into code that is not to be edited. The others are Captum's own.
"""

from __future__ import annotations

from typing import Any

import captum.attr

from captum_xg.integrations.swap import stand_ins

__all__ = list(captum.attr.__all__)

IntegratedGradients, LayerIntegratedGradients, NeuronIntegratedGradients = stand_ins("integrate")
for _class in (IntegratedGradients, LayerIntegratedGradients, NeuronIntegratedGradients):
    _class.__module__ = __name__  # where pickle finds it
    setattr(_class, "__reduce__", object.__reduce__)  # noqa: B010  which is by that name


def __getattr__(name: str) -> Any:
    return getattr(captum.attr, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
