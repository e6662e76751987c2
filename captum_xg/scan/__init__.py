"""Attributions of whole data sets: a stream of batches, one forward and one backward pass each, into a folder.

:func:`explain_dataset` is what ``captum-xg attribute`` runs; :class:`captum_xg.datasets.Attributions` reads the folder.
Of a folder that the command line has made, :func:`source` opens the data again: ``source(Attributions(DIR))[i]`` is the
example that ``Attributions(DIR)[i]`` explains.
"""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.scan.errors import ExampleError
    from captum_xg.scan.over import explain_dataset
    from captum_xg.scan.sources import source
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {"errors": ("ExampleError",), "over": ("explain_dataset",), "sources": ("source",)},
    )

__all__ = ["ExampleError", "explain_dataset", "source"]
