"""Data sets that the experiments are run on."""

from typing import TYPE_CHECKING

from captum_xg._core.loading import on_demand

if TYPE_CHECKING:
    from captum_xg.datasets import arrays as arrays
    from captum_xg.datasets import attributions as attributions
    from captum_xg.datasets import decoy as decoy
    from captum_xg.datasets import evaluation as evaluation
    from captum_xg.datasets import fashion_mnist as fashion_mnist
    from captum_xg.datasets import imagenet as imagenet
    from captum_xg.datasets import molecule_files as molecule_files
    from captum_xg.datasets import molecules as molecules
    from captum_xg.datasets import nhanes as nhanes
    from captum_xg.datasets import photographs as photographs
    from captum_xg.datasets import review_grammar as review_grammar
    from captum_xg.datasets import sentiment as sentiment
    from captum_xg.datasets import vocabulary as vocabulary
    from captum_xg.datasets.attributions import Attributions
else:
    __getattr__, __dir__ = on_demand(__name__, {"attributions": ("Attributions",)})

__all__ = ["Attributions"]
