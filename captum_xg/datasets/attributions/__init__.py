"""Attributions of a data set in a folder: shards of safetensors and an index, written once, read as a Dataset."""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.datasets.attributions.reader import Attributions
    from captum_xg.datasets.attributions.refused import RefusedExample
else:
    __getattr__, __dir__ = on_demand(__name__, {"reader": ("Attributions",), "refused": ("RefusedExample",)})

__all__ = ["Attributions", "RefusedExample"]
